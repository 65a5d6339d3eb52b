"""Types that every part of a manifest is made of."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

LEAVES_FOLDER = r"^[\\/~]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)|\x00"


def stay_inside(path: str) -> str:
    """Refuse a path that is absolute or goes up."""
    if re.search(LEAVES_FOLDER, path):
        raise ValueError("expected a path inside the data root: remove '..' and the leading slash")
    return path


def _compile(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression ({error})") from None
    if groups != 1:
        raise ValueError(f"has {groups} groups in round brackets, expected 1: what to take")
    return pattern


Text = Annotated[str, Field(min_length=1)]
OneOrMore = BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
Names = Annotated[tuple[Text, ...], OneOrMore, Field(min_length=1)]
InnerPath = Annotated[Text, AfterValidator(stay_inside)]
InnerPaths = Annotated[tuple[InnerPath, ...], OneOrMore, Field(min_length=1)]
Pattern = Annotated[Text, AfterValidator(_compile)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Part(BaseModel):
    """A group of fields: no unknown ones, none changed later, no infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
