#!/usr/bin/env python3
"""Makes tokens of every kind, good and bad, and is a small token server like the console of LAIN.

  tokens.py make DIRECTORY    writes keys, certificates, bundle.pem and tokens.tsv (name, the word good or bad, token)
  tokens.py serve DIRECTORY PORT    answers GET /api/v1/authorize/registry/ with tokens of that directory's RSA key

Only the standard library and the openssl program are needed. What the tokens are for: service registry.test, issuer
"auth server", pulling from the repository a/b.
"""
import base64, hashlib, hmac, http.server, json, os, subprocess, sys, time, urllib.parse

ISSUER, SERVICE = "auth server", "registry.test"
ACCESS = [{"type": "repository", "name": "a/b", "actions": ["pull"]}]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True).stdout


class Signer:
    """A key with a certificate. `kind` is RS or ES."""

    def __init__(self, directory, name):
        self.key = os.path.join(directory, name + ".key")
        self.certificate = os.path.join(directory, name + ".pem")
        described = openssl("pkey", "-in", self.key, "-text", "-noout")
        self.kind = "ES" if b"prime256v1" in described else "RS"

    @property
    def public(self):
        return openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")

    @property
    def x5c(self):
        return base64.b64encode(openssl("x509", "-in", self.certificate, "-outform", "DER")).decode()

    @property
    def libtrust(self):
        word = base64.b32encode(hashlib.sha256(self.public).digest()[:30]).decode()
        return ":".join(word[at : at + 4] for at in range(0, 48, 4))

    @property
    def jwk(self):
        if self.kind == "ES":
            point = self.public[-64:]
            return {"crv": "P-256", "kty": "EC", "x": b64(point[:32]), "y": b64(point[32:])}
        modulus = openssl("rsa", "-in", self.key, "-modulus", "-noout").decode().strip().split("=")[1]
        return {"e": "AQAB", "kty": "RSA", "n": b64(bytes.fromhex(modulus))}

    @property
    def thumbprint(self):
        return b64(hashlib.sha256(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def signature(self, signed, algorithm):
        size = algorithm[2:]
        options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"] if algorithm[:2] == "PS" else []
        made = openssl("dgst", "-sha" + size, "-sign", self.key, *options, given=signed)
        if self.kind == "RS":
            return made
        # DER to the two numbers side by side.
        numbers, at = [], 2
        while at < len(made):
            length = made[at + 1]
            numbers.append(int.from_bytes(made[at + 2 : at + 2 + length], "big").to_bytes(32, "big"))
            at += 2 + length
        return b"".join(numbers)

    def sign(self, header, claims, algorithm=None):
        return self.sign_text(json.dumps(header), json.dumps(claims), algorithm)

    def sign_text(self, header, claims, algorithm=None):
        signed = b64(header.encode()) + "." + b64(claims.encode())
        return signed + "." + b64(self.signature(signed.encode(), algorithm or self.kind + "256"))


def make_signers(directory):
    here = lambda name: os.path.join(directory, name)

    def key(name, kind):
        options = {"RS": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ES": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}
        openssl("genpkey", "-algorithm", *options[kind], "-out", here(name + ".key"))

    def root(name, kind):
        key(name, kind)
        openssl("req", "-x509", "-new", "-key", here(name + ".key"), "-subj", "/CN=" + name, "-days", "3650",
                "-out", here(name + ".pem"))

    def leaf(name, kind, issuer, ca=False, expired=False):
        key(name, kind)
        with open(here(name + ".ext"), "w") as file:
            file.write("basicConstraints=critical,CA:%s\n" % ("TRUE" if ca else "FALSE"))
            file.write("subjectAltName=DNS:%s\n" % name)
        request = openssl("req", "-new", "-key", here(name + ".key"), "-subj", "/CN=" + name)
        dates = ["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"] if expired else ["-days", "3650"]
        openssl("x509", "-req", "-CA", here(issuer + ".pem"), "-CAkey", here(issuer + ".key"), "-CAcreateserial",
                "-extfile", here(name + ".ext"), *dates, "-out", here(name + ".pem"), given=request)

    for name, kind in [("rsa", "RS"), ("ec", "ES"), ("root", "ES"), ("stranger", "RS"), ("ecstranger", "ES")]:
        root(name, kind)
    leaf("intermediate", "ES", "root", ca=True)
    leaf("leaf", "ES", "intermediate")
    leaf("strangersleaf", "ES", "ecstranger")
    try:
        leaf("expired", "ES", "root", expired=True)
    except subprocess.CalledProcessError:  # openssl below 3.4 cannot date certificates back
        leaf("expired", "ES", "root")
        openssl("x509", "-req", "-CA", here("root.pem"), "-CAkey", here("root.key"), "-days", "-1", "-extfile",
                here("expired.ext"), "-out", here("expired.pem"),
                given=openssl("req", "-new", "-key", here("expired.key"), "-subj", "/CN=expired"))
    with open(here("bundle.pem"), "w") as bundle:
        for name in ["rsa", "ec", "root"]:
            bundle.write(open(here(name + ".pem")).read())


def signers(directory):
    names = [name[:-4] for name in os.listdir(directory) if name.endswith(".key")]
    return {name: Signer(directory, name) for name in names}


def tokens(directory):
    who, now = signers(directory), int(time.time())
    rsa, ec, leaf = who["rsa"], who["ec"], who["leaf"]

    def claims(**changed):
        good = {"iss": ISSUER, "sub": "alice", "aud": SERVICE, "exp": now + 1800, "nbf": now - 1, "iat": now,
                "jti": "4711", "access": ACCESS}
        good.update(changed)
        return {name: value for name, value in good.items() if value is not None}

    def header(signer, **changed):
        good = {"typ": "JWT", "alg": signer.kind + "256", "kid": signer.thumbprint}
        good.update(changed)
        return {name: value for name, value in good.items() if value is not None}

    made = []
    good = lambda name, token: made.append((name, "good", token))
    bad = lambda name, token: made.append((name, "bad", token))
    simple = lambda signer, **changed: signer.sign(header(signer), claims(**changed))
    headed = lambda signer, **changed: signer.sign(header(signer, **changed), claims())

    for label, signer in [("RSA", rsa), ("EC", ec)]:
        good("%s by thumbprint" % label, headed(signer))
        good("%s by libtrust's id, as LAIN's console" % label, headed(signer, kid=signer.libtrust))
        good("%s by its own certificate as a chain" % label, headed(signer, kid=None, x5c=[signer.x5c]))
        good("%s by an embedded key with libtrust's id" % label,
             headed(signer, kid=None, jwk={**signer.jwk, "kid": signer.libtrust}))
        good("%s by an embedded key with its thumbprint" % label,
             headed(signer, kid=None, jwk={**signer.jwk, "kid": signer.thumbprint}))
        for at, form in [("thumbprint", signer.thumbprint), ("libtrust", signer.libtrust)]:
            made_by = lambda **changed: signer.sign(header(signer, kid=form), claims(**changed))
            good("%s %s, several audiences" % (label, at), made_by(aud=["x", SERVICE]))
            good("%s %s, nobody in particular" % (label, at), made_by(sub=None))
            good("%s %s, every action" % (label, at), made_by(access=[{**ACCESS[0], "actions": ["*"]}]))
            good("%s %s, with a class" % (label, at), made_by(access=[{**ACCESS[0], "class": "image"}]))
            good("%s %s, expired half a minute ago" % (label, at), made_by(exp=now - 30))
            good("%s %s, valid in half a minute" % (label, at), made_by(nbf=now + 30))
            good("%s %s, no nbf" % (label, at), made_by(nbf=None))
            good("%s %s, more claims" % (label, at), made_by(context={"a": 1}, auth_time=1.5))
            bad("%s %s, expired" % (label, at), made_by(exp=now - 300))
            bad("%s %s, no exp" % (label, at), made_by(exp=None))
            bad("%s %s, exp a text" % (label, at), made_by(exp=str(now + 300)))
            bad("%s %s, not yet valid" % (label, at), made_by(nbf=now + 300))
            bad("%s %s, another issuer" % (label, at), made_by(iss="somebody"))
            bad("%s %s, no issuer" % (label, at), made_by(iss=None))
            bad("%s %s, another service" % (label, at), made_by(aud="registry"))
            bad("%s %s, no service" % (label, at), made_by(aud=None))
            bad("%s %s, another repository" % (label, at), made_by(access=[{**ACCESS[0], "name": "a/bc"}]))
            bad("%s %s, every repository" % (label, at), made_by(access=[{**ACCESS[0], "name": "*"}]))
            bad("%s %s, another action" % (label, at), made_by(access=[{**ACCESS[0], "actions": ["push"]}]))
            bad("%s %s, another type" % (label, at), made_by(access=[{**ACCESS[0], "type": "registry"}]))
            bad("%s %s, nothing allowed" % (label, at), made_by(access=[]))
            bad("%s %s, access no list" % (label, at), made_by(access="repository:a/b:pull"))
    chain = [leaf.x5c, who["intermediate"].x5c]
    good("a chain", headed(leaf, kid=None, x5c=chain))
    good("a chain with its root", headed(leaf, kid=None, x5c=[*chain, who["root"].x5c]))
    good("a chain in an embedded key", headed(leaf, kid=None, jwk={**leaf.jwk, "kid": leaf.libtrust, "x5c": chain}))
    good("a chain and an unknown kid", headed(leaf, kid="unknown", x5c=chain))
    for algorithm in ["RS384", "RS512", "PS256"]:
        for at, form in [("thumbprint", rsa.thumbprint), ("libtrust", rsa.libtrust)]:
            good("%s by %s" % (algorithm, at), rsa.sign(header(rsa, alg=algorithm, kid=form), claims(), algorithm))

    for at, of in [("thumbprint", lambda signer: signer.thumbprint), ("libtrust", lambda signer: signer.libtrust)]:
        token = rsa.sign(header(rsa, kid=of(rsa)), claims())
        first, second, third = token.split(".")
        bad("no signature, " + at, first + "." + second + ".")
        bad("signature of another token, " + at, first + "." + b64(json.dumps(claims(sub="root")).encode()) + "." + third)
        bad("two parts, " + at, first + "." + second)
        bad("padded, " + at, token + "==")
        unsigned = lambda alg: b64(json.dumps(header(rsa, alg=alg, kid=of(rsa))).encode()) + "." + second + "."
        bad("none, " + at, unsigned("none"))
        bad("none with a signature, " + at, unsigned("none") + third)
        for form, secret in [("PEM", open(rsa.certificate, "rb").read()), ("DER", rsa.public)]:
            signed = unsigned("HS256")[:-1]
            mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
            bad("HMAC with the public key as %s, %s" % (form, at), signed + "." + b64(mac))
        bad("signed by a stranger, " + at, who["stranger"].sign(header(rsa, kid=of(rsa)), claims()))
        bad("a stranger's embedded key under a trusted name, " + at,
            who["stranger"].sign(header(rsa, kid=None, jwk={**who["stranger"].jwk, "kid": of(rsa)}), claims()))
        bad("another key's name, " + at, rsa.sign(header(rsa, kid=of(ec)), claims()))
        bad("another algorithm than the key's, " + at, ec.sign(header(ec, alg="RS256", kid=of(ec)), claims()))
        bad("unknown crit, " + at, rsa.sign(header(rsa, kid=of(rsa), crit=["x"], x=1), claims()))
        twice = json.dumps(claims())[:-1] + ', "exp": %d}' % (now + 3000)
        bad("a claim twice, " + at, rsa.sign_text(json.dumps(header(rsa, kid=of(rsa))), twice))
        bad("claims no object, " + at, rsa.sign_text(json.dumps(header(rsa, kid=of(rsa))), "[]"))
    bad("no kid", headed(rsa, kid=None))
    bad("unknown kid", headed(rsa, kid="unknown"))
    bad("kid a path", headed(rsa, kid="../../../dev/null"))
    bad("a stranger's embedded key", headed(who["stranger"], kid=None, jwk={**who["stranger"].jwk, "kid": "x"}))
    bad("a stranger's certificate", headed(who["stranger"], kid=None, x5c=[who["stranger"].x5c]))
    bad("a stranger's chain", headed(who["strangersleaf"], kid=None,
                                     x5c=[who["strangersleaf"].x5c, who["ecstranger"].x5c]))
    bad("a stranger's chain under a trusted name", headed(who["strangersleaf"], kid=rsa.thumbprint,
                                                          x5c=[who["strangersleaf"].x5c, who["ecstranger"].x5c]))
    bad("a chain without its middle", headed(leaf, kid=None, x5c=[leaf.x5c]))
    bad("a chain that belongs to another key", rsa.sign(header(rsa, kid=None, x5c=chain), claims()))
    bad("a chain whose leaf has expired", headed(who["expired"], kid=None, x5c=[who["expired"].x5c]))
    bad("a chain that is empty", headed(rsa, kid=None, x5c=[]))
    bad("a chain that is no base64", headed(rsa, kid=None, x5c=["?"]))
    bad("no token", "x")
    return made


class Console(http.server.BaseHTTPRequestHandler):
    """GET only. By itself: one scope, text for what is wrong; everybody may pull, lain alone with its password may push."""

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(path.query)
        one = lambda name: query.get(name, [""])[0]
        shown = self.headers.get("Authorization", "")
        right = shown == "Basic " + base64.b64encode(b"lain:lain").decode()
        if self.server.people:
            return self.for_people(path.path, query, shown)
        if path.path != "/api/v1/authorize/registry/" or one("service") != SERVICE or shown and not right:
            return self.answer(401, "text/plain", b"auth failed")
        scopes = [one("scope")] if one("scope") else []
        self.issue(one("account") or "lain", scopes, lambda _, action: right or action == "pull")

    def for_people(self, path, query, shown):
        """As another token server may be: users of its own, several scopes, the rules of auth.sh."""
        user = None
        if shown:
            user, _, password = base64.b64decode(shown.removeprefix("Basic ")).decode().partition(":")
            if self.server.people.get(user) != password:
                return self.answer(401, "application/json", b'{"details": "incorrect username or password"}')
        if query.get("service", [""])[0] != SERVICE:
            return self.answer(401, "application/json", b'{"details": "unknown service"}')

        def permitted(name, action):
            place = name.split("/")[0]
            if name == "catalog":
                return user is not None
            if user == "alice" and place in ("alice", "team", "public"):
                return True
            return user == place or action == "pull" and (place == "public" or user == "bob" and place == "team")

        scopes = [scope for scopes in query.get("scope", []) for scope in scopes.split()]
        self.issue(user or "", scopes, permitted)

    def do_POST(self):
        self.answer(405, "text/plain", b"ask with GET")

    def issue(self, subject, scopes, permitted):
        access = []
        for scope in scopes:
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            allowed = [action for action in actions.split(",") if permitted(name, action)]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": subject, "aud": SERVICE, "exp": now + 1800, "nbf": now - 1,
                  "iat": now, "jti": str(time.time_ns()), "access": access}
        token = self.server.signer.sign({"typ": "JWT", "alg": "RS256", "kid": self.server.signer.libtrust}, claims)
        self.answer(200, "application/json", json.dumps({"token": token}).encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    command, directory = sys.argv[1:3]
    if command == "make":
        make_signers(directory)
        with open(os.path.join(directory, "tokens.tsv"), "w") as file:
            for row in tokens(directory):
                file.write("\t".join(row) + "\n")
    else:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Console)
        server.signer = Signer(directory, "rsa")
        server.people = dict(person.split(":", 1) for person in sys.argv[4:])
        server.serve_forever()
