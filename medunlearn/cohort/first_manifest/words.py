"""What columns and values tend to be called, in the languages that tables come in."""

import re
import unicodedata

WORDS = {
    "image": (
        *("image", "img", "filename", "file", "path", "bilddatei", "bild", "dateiname", "datei"),
        *("imagen", "archivo", "fichier", "immagine", "photo", "foto", "picture", "slice", "scan"),
    ),
    "patient": (
        *("patient", "subject", "proband", "participant", "paciente", "paziente", "teilnehmer"),
        *("person", "pat", "pid", "mrn", "case", "fall", "lesion", "lasion", "eye", "auge"),
    ),
    "sex": ("sex", "gender", "geschlecht", "sexe", "sexo", "sesso", "genre", "geslacht", "kon"),
    "age": ("age", "alter", "edad", "leeftijd", "eta", "idade", "alder"),
    "label": (
        *("label", "target", "class", "klasse", "diagnosis", "diagnose", "diagnostic", "dx"),
        *("diagnostico", "finding", "befund", "outcome", "disease", "pathology", "category"),
        *("etiqueta", "malignant", "malignancy", "tumor", "tumour", "status", "y"),
    ),
    "split": ("split", "partition", "subset", "set", "phase", "fold"),
}
"""Words of a header, the likelier first."""

FEMALE = {
    *("f", "female", "woman", "girl", "w", "weiblich", "weibl", "frau", "femme", "feminin"),
    *("femenino", "mujer", "feminino", "mulher", "femmina", "donna", "vrouw", "kvinna"),
    *("kvinde", "kobieta", "k"),
}
MALE = {
    *("m", "male", "man", "boy", "mannlich", "maennlich", "mannl", "mann", "homme", "masculin"),
    *("masculino", "hombre", "homem", "varon", "maschio", "uomo", "mezczyzna", "h"),
}
LETTERS = {
    "geslacht": {"v": "F", "m": "M"},  # Dutch: vrouw, man
    "sexo": {"v": "M", "m": "F"},  # Spanish: varón, mujer
}
"""What V and M beside each other mean under these headers; under others nobody can tell."""
REFERENCE = (
    *("no finding", "normal", "healthy", "benign", "negative", "none", "control", "no", "0"),
    *("false", "neg", "absent", "gesund", "unauffallig", "gutartig", "ohne befund", "kontrolle"),
    *("nein", "sain", "sano", "sana", "normale", "benigno", "benin", "n", "nv", "well"),
)
"""Values that stand for nothing found, the clearer first."""

YES = {"1", "1.0", "true", "yes", "ja", "oui", "si", "positive", "pos", "y", "j"}
NO = {"0", "0.0", "false", "no", "nein", "non", "negative", "neg", "n"}
SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}


def fold(text: str) -> str:
    """A word without case, accents and blanks at its ends."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold().strip()


def rank(header: str, role: str) -> int | None:
    """How well a header fits a role: 0 is best, none if it does not.

    Short words must stand alone, so that ``age`` is not found in ``image``; long ones may be parts
    of others, as in ``PatientenNummer``.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    parts = re.findall(r"[^\W_]+", fold(spaced))
    whole = "".join(parts)
    for place, word in enumerate(WORDS[role]):
        if word in parts or (len(word) >= 5 and word in whole):
            return place
    return None
