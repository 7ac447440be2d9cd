"""The errors of a vendor or of the transport to it. Each class says whether something may have been sent."""

from __future__ import annotations


class ProviderError(Exception):
    """The vendor, or the transport to it, refused something.

    `template` with `values` is the plain sentence for the person. It is translated by its template, and never contains
    a secret, a number or a text. `detail` is a redacted note for the operator, `code` the vendor's own code, and
    `setting` the name of the account's setting to look at.
    """

    def __init__(
        self,
        template: str,
        *,
        detail: str = "",
        code: str | None = None,
        setting: str | None = None,
        **values: str | int,
    ) -> None:
        super().__init__(template)
        self.template, self.values = template, values
        self.detail, self.code, self.setting = detail, code, setting

    def __str__(self) -> str:
        try:
            return self.template.format_map(self.values)
        except (LookupError, ValueError, AttributeError, TypeError):  # a sentence with braces that name no value
            return str(self.template)


class Refused(ProviderError):
    """The vendor said no: key, credit, sender ID, text. Asking again will not help."""


class Blocked(ProviderError):
    """Something else at the vendor is in the way, and a person must clear it. Nothing was sent."""


class NotReady(ProviderError):
    """The vendor is still computing. Nothing was sent; ask again later."""


class Throttled(ProviderError):
    """Too fast. Nothing was sent; `wait` is how many seconds the vendor asked for."""

    def __init__(self, wait: float, template: str = "The vendor asked us to slow down.", *, detail: str = "") -> None:
        super().__init__(template, detail=detail)
        self.wait = wait


class Unavailable(ProviderError):
    """The request never left. Safe to ask again."""


class Uncertain(ProviderError):
    """It may have been sent. A look-up, a receipt or a person decides, never a retry."""

    def harmless(self) -> Unavailable:
        """The same error for a call that sends nothing, so it is safe to ask again."""
        error = Unavailable(self.template, detail=self.detail, code=self.code)
        error.values = self.values
        return error
