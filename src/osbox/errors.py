"""The one error class of osbox. It is raised anywhere and printed once, by the CLI.

Error               something on our side or around us went wrong     exit code 1
└── UserError       the user can put it right: a wrong word or value  exit code 2
"""


class Error(Exception):
    """What happened, the evidence for it, and the next command to run.

    message: one sentence, no full stop needed.
    evidence: lines that show it (the end of a log, an answer), or "".
    hint: what to do next, ideally a command, or "".
    """

    code = 1

    def __init__(self, message: str, *, hint: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence
        if evidence:
            self.add_note(evidence)  # what a traceback, and so a failed test, shows under the message


class UserError(Error):
    """The user's mistake: an unknown name, a wrong value, a missing right."""

    code = 2
