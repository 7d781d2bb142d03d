"""Names of sites, which are names of directories."""

from pydantic import TypeAdapter, ValidationError

from data_partitions.errors import DataError
from data_partitions.manifest import Name

_NAMES = TypeAdapter(Name)


def require_site_name(name: str) -> None:
    """Raise DataError unless a name can be that of a new site."""
    if "," in name:
        raise DataError(
            f"{name!r} cannot be the name of a site: a comma separates names in the setting `sites` of a run"
        )
    try:
        _NAMES.validate_python(name)
    except ValidationError:
        raise DataError(
            f"{name!r} cannot be the name of a site, which is that of a folder: use up to 100 printable "
            "characters without / and backslash, and do not begin with a dot"
        ) from None
