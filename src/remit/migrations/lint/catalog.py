"""Every rule by its id: our own, and those of squawk that are asked."""

from remit.migrations.lint.catalog_own import OWN
from remit.migrations.lint.catalog_squawk import SQUAWK
from remit.migrations.lint.rule import Rule

CATALOG: dict[str, Rule] = {rule.id: rule for rule in (*OWN, *SQUAWK)}
