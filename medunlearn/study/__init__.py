"""The grid of models, the store that holds them, and the jobs that compute them."""

import sys

# jsonschema, which papermill and MONAI load, would import it to check one kind of address that
# nothing here has: it builds a parser, for seconds. Where it is missing, jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
