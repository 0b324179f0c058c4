"""`make audit` names every licence, and never takes silence for safety."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import Distribution, distributions

import pytest

from jobs.cli import audit
from jobs.cli.audit import REVIEWED, UNKNOWN, PackageLicence, accepted, licence_of, licensed, vulnerabilities
from tests.test_house import ROOT


class Package(Distribution):
    """With this metadata."""

    def __init__(self, *lines):
        self._text = "\n".join(("Metadata-Version: 2.4", "Name: p", "Version: 1.0", *lines, ""))

    def read_text(self, filename):
        return self._text if filename == "METADATA" else None

    def locate_file(self, path):
        raise FileNotFoundError(path)


@pytest.mark.parametrize(
    ("lines", "licence", "is_accepted"),
    [
        (["License-Expression: MIT", "License: whatever"], "MIT", True),
        (["License-Expression: AGPL-3.0-only"], "AGPL-3.0-only", False),
        (["License: Apache 2.0"], "Apache-2.0", True),
        (["License: GPLv3", "Classifier: License :: OSI Approved :: MIT License"], "MIT", True),
        (["License: GPLv3"], "GPLv3", False),
        (["License: UNKNOWN"], "UNKNOWN", False),
        (["Classifier: License :: OSI Approved :: GNU Affero General Public License v3"], UNKNOWN, False),
        ([], UNKNOWN, False),
    ],
)
def test_a_licence_is_read_from_metadata(lines, licence, is_accepted):
    (one,) = licensed([Package(*lines)])
    assert (licence_of(Package(*lines)), one.is_accepted) == (licence, is_accepted)


@pytest.mark.parametrize(
    ("expression", "is_accepted"),
    [
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT AND GPL-2.0-only", False),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND BSD-3-Clause", True),
        ("GPL-3.0-only WITH Classpath-exception-2.0", False),
        ("Apache-2.0 WITH LLVM-exception", True),
    ],
)
def test_one_may_choose_but_must_keep_all_of_a_choice(expression, is_accepted):
    assert accepted(expression) is is_accepted


def test_every_licence_of_what_is_installed_is_accepted_or_judged():
    installed = licensed(distributions())
    assert len(installed) > 100
    assert [one for one in installed if not one.is_accepted] == []


def test_what_was_judged_is_in_the_documentation():
    documented = (ROOT / "docs" / "licences.md").read_text()
    assert [name for name in REVIEWED if f"`{name.rstrip('-')}" not in documented] == []


@pytest.fixture
def service():
    """Answers as OSV does: something is known of jinja2, or whatever `answer` makes of a question."""
    pytest.importorskip("pip_audit", reason="of the extra dev: make setup")

    class Answers(BaseHTTPRequestHandler):
        answer = staticmethod(lambda asked: (200, {"vulns": [VULNERABLE]} if asked == "jinja2" else {}))

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, answer = self.answer(asked["package"]["name"])
            body = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Answers, ("-s", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query")
    server.shutdown()
    server.server_close()


VULNERABLE = {
    "id": "PYSEC-0000-1",
    "aliases": ["CVE-0000-1"],
    "summary": "it breaks",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}],
            "versions": ["2.10"],
        }
    ],
}
INSTALLED = [
    PackageLicence("idna", "3.20", "BSD-3-Clause", ""),
    PackageLicence("jinja2", "2.10", "BSD-3-Clause", ""),
]


def test_a_known_vulnerability_is_told_with_what_mends_it(service):
    assert vulnerabilities(INSTALLED[:1], service[1]) == []
    assert vulnerabilities(INSTALLED, service[1]) == [
        "jinja2 2.10: PYSEC-0000-1 CVE-0000-1, mended in 2.10.1"
    ]


def test_where_nobody_answers_nothing_is_concluded(service):
    answers, options = service
    answers.answer = staticmethod(lambda asked: (503, {}))
    with pytest.raises(LookupError, match="pip-audit got no answer"):
        vulnerabilities(INSTALLED, options)
    with pytest.raises(LookupError, match="pip-audit got no answer"):
        vulnerabilities(INSTALLED, (*options[:3], "http://127.0.0.1:9/v1/query"))


def test_a_package_that_was_not_asked_about_fails_the_audit(service, monkeypatch, capsys):
    odd = [*INSTALLED[:1], PackageLicence("jinja2", "not a version", "BSD-3-Clause", "")]
    with pytest.raises(LookupError):
        vulnerabilities(odd, service[1])
    monkeypatch.setattr(audit, "distributions", lambda: [Package("License: MIT")])
    monkeypatch.setattr(audit, "find_spec", lambda name: None)
    assert audit.main([]) == 1
    assert "vulnerabilities are not known: pip-audit is not installed" in capsys.readouterr().err
