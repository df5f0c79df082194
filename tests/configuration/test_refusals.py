"""Every mistake in a file ends in one line that a person can act on: path, rule, value."""

# ruff: noqa: E501 - one mistake a line

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configuration import Configuration, load
from configuration.reading import convert
from lifecycle.refusal import Refusal
from tests.configuration.test_reading import CONTRACT

BASE = """\
kafka: embedded
models:
  - name: fraud
    targets: {v1: {url: "http://m:1"}}
    production: v1
"""
TEXT_KEYS = "must have texts as keys, in quotes where they look otherwise"
URL = "must be like http://host:port or https://host:port/path"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED_LAUGHS = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def top(text: str) -> str:
    """The shortest file with a line more."""
    return BASE + text + "\n"


def model(text: str) -> str:
    """The shortest file with a setting more of its model."""
    return f"{BASE}    {text}\n"


def kafka(text: str) -> str:
    """The shortest file with another Kafka."""
    return BASE.replace("kafka: embedded", f"kafka: {text}")


def targets(text: str) -> str:
    """The shortest file with other targets."""
    return BASE.replace('{v1: {url: "http://m:1"}}', text)


MISTAKES: dict[str, tuple[str, str]] = {
    # unknown and missing keys
    "an unknown section": (top("prometheus: {}"), "prometheus is not a setting; docs/configuration.md lists them"),
    "an unknown setting": (model("mirror: {fractoin: 1}"), "models[0].mirror.fractoin is not a setting; docs/configuration.md lists them"),
    "an unknown setting of a target": (targets('{v1: {url: "http://m:1", tiemout: 1}}'), "models[0].targets.v1.tiemout is not a setting; docs/configuration.md lists them"),
    "an unknown setting with a line break": (top('"a\\nb": 1'), "a\\nb is not a setting; docs/configuration.md lists them"),
    "a long unknown setting": (top("x" * 500 + ": 1"), "x" * 57 + "... is not a setting; docs/configuration.md lists them"),
    "no models": ("kafka: embedded\n", "models is required"),
    "no kafka": (BASE.replace("kafka: embedded\n", ""), "kafka is required"),
    "no name": (BASE.replace("name: fraud\n    ", ""), "models[0].name is required"),
    "a target without url": (targets("{v1: {}}"), "models[0].targets.v1.url is required"),
    "a kafka without servers": (kafka("{}"), "kafka.bootstrap_servers is required"),
    # wrong types
    "a list": ("- 1\n", "the file must be a mapping, got [1]"),
    "a word": ("hello\n", "the file must be a mapping, got 'hello'"),
    "null": ("null\n", "the file must be a mapping, got null"),
    "a section that is a list": (model("mirror: [1]"), "models[0].mirror must be a mapping, got [1]"),
    "a section that is empty": (model("mirror:"), "models[0].mirror must be a mapping, got null"),
    "models that are a mapping": ("kafka: embedded\nmodels: {fraud: {}}\n", 'models must be a list, got {"fraud": {}}'),
    "models that are empty": ("kafka: embedded\nmodels:\n", "models must be a list, got null"),
    "a text for a number": (model("mirror: {fraction: half}"), "models[0].mirror.fraction must be a number, got 'half'"),
    "a fraction for a whole number": (model("window: {size: 10.5}"), "models[0].window.size must be a whole number, got 10.5"),
    "yes for a whole number": (top("proxy: {workers: yes}"), "proxy.workers must be a whole number, got true"),
    "a number for a text": (top("proxy: {listen: 8080}"), "proxy.listen must be a text, got 8080"),
    "a number for a version": (BASE.replace("production: v1", "production: 1"), "models[0].production must be a text, got 1"),
    "a text for a list": (top("exporter: {open: metrics}"), "exporter.open must be a list, got 'metrics'"),
    "null for a list": (model("mirror: {headers: null}"), "models[0].mirror.headers must be a list, got null"),
    "a number in a list of texts": (model("mirror: {headers: [a, 1]}"), "models[0].mirror.headers[1] must be a text, got 1"),
    "a word for true or false": (model("mirror: {trust_header: maybe}"), "models[0].mirror.trust_header must be true or false, got 'maybe'"),
    "a target that is a text": (targets('{v1: "http://m:1"}'), "models[0].targets.v1 must be a mapping, got 'http://m:1'"),
    "the second target": (targets('{v1: {url: "http://m:1"}, v2.1: {url: 3}}'), "models[0].targets.v2.1.url must be a text or a list, got 3"),
    "a probe's request": (targets('{v1: {url: "http://m:1", probe: {request: 1, schema: x}}}'), "models[0].targets.v1.probe.request must be a text, got 1"),
    "a range of three": (model("drift: {range: [0.1, 0.5, 0.9]}"), "models[0].drift.range must hold 2 values, got 3"),
    "a range of words": (model("drift: {range: [low, 1]}"), "models[0].drift.range[0] must be a number, got 'low'"),
    "a threshold that is a text": (model("tenant: {allow: [a.b], thresholds: {a.b: {large: x}}}"), "models[0].tenant.thresholds.a.b.large must be a number, got 'x'"),
    "thresholds that are a number": (model("tenant: {allow: [a], thresholds: {a: 3}}"), "models[0].tenant.thresholds.a must be a mapping, got 3"),
    "a fallback that is a text": (model("fallback: v1"), "models[0].fallback must be a mapping or null, got 'v1'"),
    "bytes": (top("state_dir: !!binary aGk="), "state_dir must be a text, got b'hi'"),
    "a long value": (model(f"mirror: {{fraction: {'x' * 500}}}"), f"models[0].mirror.fraction must be a number, got '{'x' * 56}..."),
    "a value with a line break": (model('mirror: {fraction: "a\\nb"}'), "models[0].mirror.fraction must be a number, got 'a\\nb'"),
    # one of several words
    "a mode that is none": (model("mirror: {mode: shout}"), "models[0].mirror.mode must be call or log_only, got 'shout'"),
    "a mode with a line separator": (model('mirror: {mode: "a\\u2028b"}'), "models[0].mirror.mode must be call or log_only, got 'a\\u2028b'"),
    "a mode that is a number": (model("mirror: {mode: 3}"), "models[0].mirror.mode must be a text, got 3"),
    "an after that is none": (model("mirror: {after: lunch}"), "models[0].mirror.after must be success or request, got 'lunch'"),
    "a binning that is none": (model("drift: {binning: kmeans}"), "models[0].drift.binning must be equal_width or quantile, got 'kmeans'"),
    "an endpoint that is none": (top("exporter: {open: [metrics, all]}"), "exporter.open[1] must be metrics or health or evidence, got 'all'"),
    "a level that is none": (model("tenant: {allow: [a], thresholds: {a: {big: 1}}}"), "models[0].tenant.thresholds.a must have as keys moderate or large or severe, got 'big'"),
    "a rollback's word": (top("rollback: {on_feature_drift: never}"), "rollback.on_feature_drift must be corroborated or alone, got 'never'"),
    "a kafka that is a word": (kafka("embeded"), "kafka must be embedded or a mapping, got 'embeded'"),
    "a kafka that is a number": (kafka("9092"), "kafka must be a text or a mapping, got 9092"),
    # out of range
    "a share above 1": (model("mirror: {fraction: 50}"), "models[0].mirror.fraction must be between 0 and 1, got 50"),
    "a share below 0": (model("capture: {fraction: -0.1}"), "models[0].capture.fraction must be between 0 and 1, got -0.1"),
    "a share that is no number": (model("mirror: {fraction: .nan}"), "models[0].mirror.fraction must be between 0 and 1, got nan"),
    "a share without end": (model("mirror: {fraction: .inf}"), "models[0].mirror.fraction must be between 0 and 1, got inf"),
    "no workers": (top("proxy: {workers: 0}"), "proxy.workers must be between 1 and 256, got 0"),
    "one too many": (model("window: {size: 1000001}"), "models[0].window.size must be between 10 and 1000000, got 1000001"),
    "a very large number": (model(f"window: {{size: 1{'0' * 90}}}"), f"models[0].window.size must be between 10 and 1000000, got 1{'0' * 56}..."),
    "a number of 5,000 digits": (model(f"window: {{size: {'9' * 5000}}}"), f"models[0].window.size must have at most 100 digits, got '{'9' * 56}..."),
    "a number of 5,000 hexadecimal digits": (model(f"mirror: {{fraction: 0x{'f' * 5000}}}"), f"models[0].mirror.fraction must have at most 100 digits, got '0x{'f' * 54}..."),
    "a wait of nothing": (targets('{v1: {url: "http://m:1", timeout: 0s}}'), "models[0].targets.v1.timeout must be between 0.001 and 3600, got 0"),
    "a head of one byte": (top("proxy: {limits: {header_bytes: 1}}"), "proxy.limits.header_bytes must be between 1024 and 1048576, got 1"),
    "a falling range": (model("drift: {range: [0.9, 0.1]}"), "models[0].drift.range must be two rising quantiles between 0 and 1, got [0.9, 0.1]"),
    "a range with no number": (model("drift: {range: [.nan, 0.5]}"), "models[0].drift.range must be two rising quantiles between 0 and 1, got [nan, 0.5]"),
    "falling levels": (model("drift: {large: 0.05}"), "models[0].drift.moderate, large and severe must be above 0 and rise in this order, got 0.1, 0.05, 0.35"),
    "a level without end": (model("drift: {severe: .inf}"), "models[0].drift.moderate, large and severe must be above 0 and rise in this order, got 0.1, 0.2, inf"),
    "a tenant's level below 0": (model("tenant: {allow: [a], thresholds: {a: {large: -3}}}"), "models[0].tenant.thresholds.a.large must be above 0, got -3"),
    "a tenant's levels that fall": (model("tenant: {allow: [a], thresholds: {a: {large: 0.3, severe: 0.2}}}"), "models[0].tenant.thresholds.a must rise from moderate over large to severe, got 0.3, 0.2"),
    "a tenant's level that is no number": (model("tenant: {allow: [a], thresholds: {a: {large: .nan}}}"), "models[0].tenant.thresholds.a.large must be above 0, got nan"),
    "a budget below 0": (model("mirror: {budget: {requests_per_day: -1}}"), "models[0].mirror.budget.requests_per_day must be 0 or more, got -1"),
    "a body above all memory": (model("mirror: {max_body_bytes: 65MiB}"), "models[0].mirror.max_body_bytes must be between 0 and 67108864, got 68157440"),
    "more failures than calls": (model("mirror: {breaker: {calls: 5}}"), "models[0].mirror.breaker.failures must be between 1 and 5, got 10"),
    "a memory of two days": (model("mirror: {deduplicate: 2d}"), "models[0].mirror.deduplicate must be between 0.001 and 86400, got 172800"),
    "credentials without a file": (model("mirror: {credentials: {header: X-Key}}"), "models[0].mirror.credentials.value_file is required"),
    "a credential in no header": (model("mirror: {credentials: {header: 'X Key', value_file: k}}"), "models[0].mirror.credentials.header must be the name of a header, got 'X Key'"),
    "a credential that frames": (model("mirror: {credentials: {header: Content-Length, value_file: k}}"), "models[0].mirror.credentials.header must not be one that frames or marks a clone, got 'Content-Length'"),
    # units
    "an unknown unit of time": (model("mirror: {timeout: 10 parsecs}"), "models[0].mirror.timeout must be a duration such as 250ms, 10s or 5m, got '10 parsecs'"),
    "a time before now": (model("mirror: {timeout: -1}"), "models[0].mirror.timeout must be a duration such as 250ms, 10s or 5m, got -1"),
    "a time that is true": (top("proxy: {drain_timeout: true}"), "proxy.drain_timeout must be a duration such as 250ms, 10s or 5m, got true"),
    "a target's time": (targets('{v1: {url: "http://m:1", timeout: soon}}'), "models[0].targets.v1.timeout must be a duration such as 250ms, 10s or 5m, got 'soon'"),
    "an unknown unit of size": (model("capture: {max_bytes: 64KB}"), "models[0].capture.max_bytes must be a size such as 65536, 64KiB or 4GiB, got '64KB'"),
    "half a byte": (model("capture: {max_bytes: 0.5}"), "models[0].capture.max_bytes must be a whole number of bytes, got 0.5"),
    "a size beyond all": (top(f"proxy: {{spool: {{max_bytes: {'9' * 400} TiB}}}}"), f"proxy.spool.max_bytes must be a size such as 65536, 64KiB or 4GiB, got '{'9' * 56}..."),
    # addresses, urls, names
    "a port alone": (top('proxy: {listen: "8080"}'), "proxy.listen must be an address such as 127.0.0.1:8080, got '8080'"),
    "a port beyond all": (top('exporter: {listen: "127.0.0.1:70000"}'), "exporter.listen must be an address such as 127.0.0.1:8080, got '127.0.0.1:70000'"),
    "a broker without port": (kafka("{bootstrap_servers: 'a:1, b'}"), "kafka.bootstrap_servers must be an address such as 127.0.0.1:8080, got 'b'"),
    "an open admin port": (top('proxy: {admin: "0.0.0.0:9101"}'), "proxy.admin must be a loopback address unless token_file is set, got '0.0.0.0:9101'"),
    "an open exporter": (top('exporter: {listen: "10.0.0.1:9108"}'), "exporter.listen must be a loopback address unless token_file is set, got '10.0.0.1:9108'"),
    "an open rollback": (top('rollback: {listen: "[::]:9109"}'), "rollback.listen must be a loopback address unless token_file is set, got '[::]:9109'"),
    "a name that looks like loopback": (top('proxy: {admin: "127.evil.example:1"}'), "proxy.admin must be a loopback address unless token_file is set, got '127.evil.example:1'"),
    "ftp": (targets('{v1: {url: "ftp://m"}}'), f"models[0].targets.v1.url {URL}, got 'ftp://m'"),
    "no address": (targets('{v1: {url: []}}'), "models[0].targets.v1.url must be an address or a list of them, got []"),
    "a second address that is none": (targets('{v1: {url: ["http://m:1", m]}}'), f"models[0].targets.v1.url[1] {URL}, got 'm'"),
    "a second address that is a number": (targets('{v1: {url: ["http://m:1", 2]}}'), "models[0].targets.v1.url[1] must be a text, got 2"),
    "addresses of two schemes": (targets('{v1: {url: ["http://m:1", "https://m:2"]}}'), 'models[0].targets.v1.url must hold addresses of one scheme and one path, got ["http://m:1", "https://m:2"]'),
    "addresses of two paths": (targets('{v1: {url: ["http://m:1/a", "http://m:2/b"]}}'), 'models[0].targets.v1.url must hold addresses of one scheme and one path, got ["http://m:1/a", "http://m:2/b"]'),
    "an address twice": (targets('{v1: {url: ["http://m:1", "http://M:1/"]}}'), 'models[0].targets.v1.url must hold each address once, got ["http://m:1", "http://M:1/"]'),
    "TLS without https": (targets('{v1: {url: "http://m:1", tls: {}}}'), "models[0].targets.v1.tls needs a url that begins with https://, got 'http://m:1'"),
    "a key without a certificate": (targets('{v1: {url: "https://m:1", tls: {key_file: k.pem}}}'), "models[0].targets.v1.tls.certificate_file must be set beside key_file, got null"),
    "a server's name that is none": (targets('{v1: {url: "https://m:1", tls: {server_name: "a b"}}}'), "models[0].targets.v1.tls.server_name must be the name of a host, got 'a b'"),
    "TLS that is a text": (targets('{v1: {url: "https://m:1", tls: ca.pem}}'), "models[0].targets.v1.tls must be a mapping or null, got 'ca.pem'"),
    "a probe without its schema": (targets('{v1: {url: "http://m:1", probe: {request: r.json}}}'), "models[0].targets.v1.probe.schema is required"),
    "a breaker that opens never": (targets('{v1: {url: "http://m:1", breaker: {calls: 5, failures: 6}}}'), "models[0].targets.v1.breaker.failures must be between 1 and 5, got 6"),
    "a breaker of no calls": (targets('{v1: {url: "http://m:1", breaker: {calls: 0}}}'), "models[0].targets.v1.breaker.calls must be between 1 and 10000, got 0"),
    "a breaker that does not wait": (targets('{v1: {url: "http://m:1", breaker: {open_for: 0}}}'), "models[0].targets.v1.breaker.open_for must be between 0.001 and 3600, got 0"),
    "a fallback to nothing": (model("fallback: {}"), "models[0].fallback.target or body_file must be given, and not both, got none"),
    "a fallback to two things": (model("fallback: {target: v1, body_file: b.json}"), "models[0].fallback.target or body_file must be given, and not both, got both"),
    "a fallback to nowhere": (model("fallback: {target: v9}"), "models[0].fallback.target must be one of the targets (v1), got 'v9'"),
    "a status of another version": (model("fallback: {target: v1, status: 503}"), "models[0].fallback.status and content_type must stand beside body_file, got target 'v1'"),
    "a fallback without success or failure": (model("fallback: {body_file: b.json, status: 101}"), "models[0].fallback.status must be between 200 and 599, got 101"),
    "a fallback without content": (model("fallback: {body_file: b.json, status: 204}"), "models[0].fallback.status must be one whose answer has a body, got 204"),
    "a content type of two lines": (model('fallback: {body_file: b.json, content_type: "a\\nb"}'), "models[0].fallback.content_type must be like application/json, got 'a\\nb'"),
    "a setting that no fallback has": (model("fallback: {target: v1, after: 3s}"), "models[0].fallback.after is not a setting; docs/configuration.md lists them"),
    "a url without host": (targets('{v1: {url: "http://"}}'), f"models[0].targets.v1.url {URL}, got 'http://'"),
    "a url with a password": (targets('{v1: {url: "http://a@m:1"}}'), f"models[0].targets.v1.url {URL}, got 'http://a@m:1'"),
    "a url with a line break": (targets('{v1: {url: "http://m\\n:1"}}'), f"models[0].targets.v1.url {URL}, got 'http://m\\n:1'"),
    "a url with a port beyond all": (targets('{v1: {url: "http://m:99999"}}'), f"models[0].targets.v1.url {URL}, got 'http://m:99999'"),
    "a name with a space": (BASE.replace("fraud", "'a b'"), "models[0].name must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got 'a b'"),
    "a name with a line break": (BASE.replace("fraud", '"a\\n"'), "models[0].name must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got 'a\\n'"),
    "a version with a slash": (BASE.replace("v1", "v/1"), "models[0].targets must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got 'v/1'"),
    "a header with a space": (model("mirror: {headers: [a b]}"), "models[0].mirror.headers must be names of headers, got 'a b'"),
    "a tenant's header": (model("tenant: {header: 'X Tenant'}"), "models[0].tenant.header must be the name of a header, got 'X Tenant'"),
    "a tenant that is ours": (model("tenant: {allow: [_all]}"), "models[0].tenant.allow must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got '_all'"),
    "a tenant's place that is none": (model("tenant: {body: a..b}"), "models[0].tenant.body must be names with dots between them, got 'a..b'"),
    "too many tenants": (model("tenant: {allow: [" + ", ".join(f"t{n}" for n in range(1001)) + "]}"), "models[0].tenant.allow must hold at most 1000 names, got 1001"),
    # privacy, texts, schema
    "a rule that is none": (model("privacy: {fields: {email: erase}}"), "models[0].privacy.fields.email must be drop or hash or keep or a mapping, got 'erase'"),
    "a bucket of nothing": (model("privacy: {fields: {age: {bucket: 0}}}"), "models[0].privacy.fields.age.bucket must be above 0, got 0"),
    "a bucket that is a text": (model("privacy: {fields: {age: {bucket: ten}}}"), "models[0].privacy.fields.age.bucket must be a number, got 'ten'"),
    "a bucket by another name": (model("privacy: {fields: {age: {buckets: 10}}}"), "models[0].privacy.fields.age.buckets is not a setting; docs/configuration.md lists them"),
    "a header with credentials": (model("privacy: {headers: [Authorization]}"), "models[0].privacy.headers must not hold credentials, got 'Authorization'"),
    "a header that is none": (model("privacy: {headers: ['a b']}"), "models[0].privacy.headers must be names of headers, got 'a b'"),
    "a header twice": (model("privacy: {headers: [A, a]}"), "models[0].privacy.headers must name each header once, got [\"A\", \"a\"]"),
    "a pattern that RE2 refuses": (model("privacy: {patterns: {a: '(?=x)'}}"), "models[0].privacy.patterns.a must be a pattern that RE2 takes: invalid perl operator: (?=; got '(?=x)'"),
    "a pattern of exponential time": (model("privacy: {patterns: {a: '(a+)+$'}}"), "models[0].privacy.patterns.a must not repeat without end what repeats without end, as in (a+)+: it takes other tools exponential time; got '(a+)+$'"),
    "the same of alternatives": (model("text: {patterns: {a: '(x|x)*y'}}"), "models[0].text.patterns.a must not repeat without end what repeats without end, as in (a+)+: it takes other tools exponential time; got '(x|x)*y'"),
    "a pattern that repeats too often": (model("text: {patterns: {a: '((a{100}){100}){10}'}}"), "models[0].text.patterns.a must be a pattern that RE2 takes: invalid repetition size: {100}; got '((a{100}){100}){10}'"),
    "a long pattern": (model(f"text: {{patterns: {{a: {'x' * 1001}}}}}"), "models[0].text.patterns.a must have 1 to 1000 characters, got 1001; got '" + "x" * 56 + "..."),
    "a pattern that is found everywhere": (model("text: {patterns: {a: 'x*'}}"), "models[0].text.patterns.a must not fit the empty text, or it would be found everywhere; got 'x*'"),
    "a pattern's name": (model("text: {patterns: {'a b': x}}"), "models[0].text.patterns must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, got 'a b'"),
    "a pattern with a built-in one's name": (model("privacy: {patterns: {email: x}}"), "models[0].privacy.patterns must not be named as a built-in one (email, iban, card, phone), got email"),
    "too many patterns": (model("privacy: {patterns: {" + ", ".join(f"p{n}: x" for n in range(33)) + "}}"), "models[0].privacy.patterns must be at most 32, got 33"),
    "a schema without fields": (model("schema: {mode: observe}"), "models[0].schema.file or fields must be given, got none"),
    "a schema's mode that is none": (model("schema: {mode: block, fields: {a: {type: number}}}"), "models[0].schema.mode must be observe or reject, got 'block'"),
    "a field without a type": (model("schema: {fields: {a: {}}}"), "models[0].schema.fields.a.type is required"),
    "a range of a text": (model("schema: {fields: {a: {type: string, minimum: 1}}}"), "models[0].schema.fields.a.minimum must stand beside type number or integer, got string"),
    "a length of a number": (model("schema: {fields: {a: {type: number, max_length: 1}}}"), "models[0].schema.fields.a.max_length must stand beside type string, got number"),
    "a range from above to below": (model("schema: {fields: {a: {type: number, minimum: 2, maximum: 1}}}"), "models[0].schema.fields.a.minimum must not be above maximum, got 2 and 1"),
    "a category of another type": (model("schema: {fields: {a: {type: integer, categories: [1, x]}}}"), "models[0].schema.fields.a.categories must be of type integer, got 'x'"),
    "a schema that is not there": (model("schema: {file: /nowhere/schema.json}"), "models[0].schema.file: /nowhere/schema.json cannot be read: no such file or directory"),
    "thresholds of nobody": (model("tenant: {allow: [acme], thresholds: {acmee: {large: 0.3}}}"), "models[0].tenant.thresholds must be of tenants that `allow` names, got 'acmee'"),
    "a method in small letters": (model("inference: {methods: [post]}"), "models[0].inference.methods must be names such as POST, got 'post'"),
    "a path without a slash": (model("inference: {paths: [predict]}"), "models[0].inference.paths must begin with /, got 'predict'"),
    "a prefix without a slash": (model("path_prefix: fraud"), "models[0].path_prefix must begin with /, got 'fraud'"),
    "an inference outside the prefix": (model("path_prefix: /f\n    inference: {paths: [/predict]}"), "models[0].inference.paths must lie below path_prefix /f, got '/predict'"),
    # what must fit together
    "no model": ("kafka: embedded\nmodels: []\n", "models must name at least one model, got none"),
    "no target": (targets("{}"), "models[0].targets must name at least one version, got none"),
    "an unknown production": (BASE.replace("production: v1", "production: v9"), "models[0].production must be one of the targets (v1), got 'v9'"),
    "an unknown shadow": (model("shadow: v9"), "models[0].shadow must be one of the targets (v1), got 'v9'"),
    "an unknown stable": (model("stable: v9"), "models[0].stable must be one of the targets (v1), got 'v9'"),
    "a model twice": (BASE + BASE.partition("models:\n")[2], "models must differ in name, got 'fraud' twice"),
    "a prefix twice": (BASE + BASE.partition("models:\n")[2].replace("fraud", "churn"), "models must differ in path_prefix, got '/' twice"),
    # keys
    "a section twice": (top("kafka: embedded"), "kafka is given twice; keep one"),
    "a setting twice": (model("mirror: {fraction: 0, fraction: 1}"), "models[0].mirror.fraction is given twice; keep one"),
    "a target twice": (targets('{v1: {url: "http://m:1"}, v1: {url: "http://m:2"}}'), "models[0].targets.v1 is given twice; keep one"),
    "a key that is a number": (targets('{1: {url: "http://m:1"}}'), f"models[0].targets {TEXT_KEYS}, got 1"),
    "a key that is null": (top("null: 1"), f"the file {TEXT_KEYS}, got null"),
    "a key that is true": (model("fallback: {on: 1}"), f"models[0].fallback {TEXT_KEYS}, got on"),
    "a key that is a list": (top("? [a]\n: 1"), f"the file {TEXT_KEYS}, got a list or a mapping"),
    # variables
    "a variable that is not set": (top("state_dir: ${STATE_DIR}"), "state_dir needs the environment variable STATE_DIR, which is not set"),
    "a variable of a target": (targets('{v1: {url: "http://${HOST}:1"}}'), "models[0].targets.v1.url needs the environment variable HOST, which is not set"),
    "a variable that is no number": (top("proxy:\n  workers: ${MANY}"), "proxy.workers must be a whole number, got 'many'"),
    "a variable that is a quoted number": (top("proxy:\n  workers: '${TWO}'"), "proxy.workers must be a whole number, got '2'"),
    # what is no YAML, or more of it than is good
    "nothing": ("", "the file is empty"),
    "a comment": ("# nothing\n", "the file is empty"),
    "an open bracket": ("kafka: [1\n", "line 2, column 1: is not YAML: expected ',' or ']', but got '<stream end>'"),
    "a tab": ("kafka: embedded\n\tmodels: []\n", "line 2, column 1: is not YAML: found character '\\t' that cannot start any token"),
    "two documents": (top("---\nkafka: embedded"), "line 6, column 1: is not YAML: but found another document"),
    "a NUL": ("kafka: \0\n", "is not YAML: unacceptable character #x0000: special characters are not allowed"),
    "an escaped NUL": (top('state_dir: "a\\0b"'), "state_dir must be a text without NUL and halves of characters, got 'a\\x00b'"),
    "half a character": (top('state_dir: "\\ud800"'), "state_dir must be a text without NUL and halves of characters, got '\\ud800'"),
    "a Python object": (top("x: !!python/object/apply:os.system [id]"), "line 6, column 4: is not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    "a tag that lies": (top("state_dir: !!int abc"), "is not YAML that can be used: invalid literal for int() with base 10: 'abc'"),
    "a tag of another kind": (top("state_dir: !!bool abc"), "is not YAML that can be used: a tag (!!…) does not fit its value"),
    "an unknown anchor": (top("state_dir: *nowhere"), "line 6, column 12: is not YAML: found undefined alias 'nowhere'"),
    "a list in itself": ("&a [*a]\n", "[0] must not hold itself: its alias leads to where it stands"),
    "a mapping in itself": (top("proxy: &a {limits: *a}"), "proxy.limits must not hold itself: its alias leads to where it stands"),
    "a merge with a number": (top("<<: 3"), "line 6, column 5: is not YAML: expected a mapping or list of mappings for merging, but found scalar"),
    "a billion laughs": (LAUGHS, "f must not unfold to more than 100000 values by its anchors"),
    "a billion merged laughs": (MERGED_LAUGHS, "f.<< must not unfold to more than 100000 values by its anchors"),
    "3,000 levels": ("a: " + "[" * 3000 + "]" * 3000, "is not YAML that can be used: it is nested too deeply"),
}  # fmt: skip
ENVIRONMENT = {"MANY": "many", "TWO": "2"}


def test_the_file_that_the_mistakes_are_made_in_is_right(tmp_path: Path) -> None:
    """Or the table would prove nothing."""
    path = tmp_path / "shadowdrift.yaml"
    path.write_text(BASE)
    assert load(path, {}).models[0].name == "fraud"


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    """Exactly this line, behind the file's name."""
    text, line = MISTAKES[case]
    path = tmp_path / "shadowdrift.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Refusal) as raised:
        load(path, ENVIRONMENT)
    assert str(raised.value) == f"{path}: {line}"
    assert len(str(raised.value).splitlines()) == 1


def test_a_guarded_address_may_be_open_with_a_token(tmp_path: Path) -> None:
    """All three parts that have one."""
    path = tmp_path / "shadowdrift.yaml"
    guarded = "token_file: token}\n"
    path.write_text(
        BASE
        + f"proxy: {{admin: '0.0.0.0:1', {guarded}exporter: {{listen: '0.0.0.0:2', {guarded}"
        + f"rollback: {{listen: '[::]:3', {guarded}"
    )
    assert load(path, {}).rollback.listen == "[::]:3"


def test_a_missing_file_is_told_with_the_option(tmp_path: Path) -> None:
    """Since the default name is taken from the working directory."""
    path = tmp_path / "shadowdrift.yaml"
    with pytest.raises(Refusal) as raised:
        load(path, {})
    assert str(raised.value) == (
        f"{path}: cannot be read: No such file or directory; `--config FILE` names another file"
    )


def test_a_directory_is_told(tmp_path: Path) -> None:
    """As what it is."""
    with pytest.raises(Refusal) as raised:
        load(tmp_path, {})
    assert str(raised.value) == f"{tmp_path}: cannot be read: Is a directory; `--config FILE` names another file"


@pytest.mark.parametrize("content", [b"\xff\xfe", BASE.encode("utf-16"), b"state_dir: caf\xe9\n"], ids=["", "16", "1"])
def test_what_is_not_utf_8_is_told(content: bytes, tmp_path: Path) -> None:
    """UTF-16 and Latin-1 among it."""
    path = tmp_path / "shadowdrift.yaml"
    path.write_bytes(content)
    with pytest.raises(Refusal) as raised:
        load(path, {})
    assert str(raised.value) == f"{path}: is not UTF-8 text"


def is_one_line(attempt: Callable[[], Configuration]) -> None:
    """A configuration, or a refusal of one line; any other exception fails the test."""
    line = ""
    try:
        assert isinstance(attempt(), Configuration)
    except Refusal as refusal:
        line = str(refusal)
    assert len(line.splitlines()) <= 1
    assert line.isprintable()


def is_taken_or_refused(text: str, path: Path) -> None:
    """The same of a file with that text."""
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    is_one_line(lambda: load(path, ENVIRONMENT))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write into again and again."""
    return tmp_path_factory.mktemp("configuration") / "shadowdrift.yaml"


@settings(max_examples=300, derandomize=True, deadline=None)
@given(text=st.text(max_size=100))
@example(text="a: !!timestamp x")
@example(text="a: !!float []")
@example(text="!!set {a, b}")
@example(text="a: !<\x85> b")
@example(text="a: 0b" + "1" * 90)
@example(text="a: 1:" + ":".join(["59"] * 30))
@example(text="a: {<<: {b: 1}, <<: {b: 2}}")
@example(text="a: ${MANY")
def test_no_text_raises_anything_but_a_refusal(text: str, path: Path) -> None:
    """Random texts."""
    is_taken_or_refused(text, path)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(data=st.data())
def test_no_mutation_raises_anything_but_a_refusal(data: st.DataObject, path: Path) -> None:
    """The contract's file with pieces of it replaced by what means something to YAML or to us."""
    text = CONTRACT
    pieces = st.sampled_from(
        ["", "\n", " ", "{", "}", "[", "]", ": ", "- ", ",", "'", '"', "#", "&a ", "*a", "<<: ", "!!int ", "!!map ", "? ",
         "|", ">", "null", "true", "-1", ".nan", ".inf", "1e999", "${MANY}", "${TWO}", "10s", "1KiB", "\t", "\u2028", "9" * 30]
    )  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(pieces) + text[at + data.draw(st.integers(0, 8)) :]
    is_taken_or_refused(text, path)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
structures = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3)
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and its key or index."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places(inner)]]


@settings(max_examples=120, derandomize=True, deadline=None)
@given(data=st.data())
def test_no_structure_in_any_place_raises_anything_but_a_refusal(data: st.DataObject, path: Path) -> None:
    """Any value, of any type, for any setting of the contract's file; also of a document that no YAML was."""
    document = yaml.safe_load(CONTRACT)
    holder, key = data.draw(st.sampled_from(places(document)))
    holder[key] = data.draw(structures)
    is_taken_or_refused(yaml.safe_dump(document, allow_unicode=True), path)
    is_one_line(lambda: convert(document, path.parent, "test"))
