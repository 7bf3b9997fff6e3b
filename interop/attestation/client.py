"""boto3 calls a running keyreeve with attestation documents.

`test` beside this has made the authority and the enclave's key.
"""

import base64
import hashlib
import json
import os
import pathlib
import subprocess
import time
import unittest

import boto3
import botocore.config
from botocore.exceptions import ClientError

DIR = pathlib.Path(os.environ["ATTESTATION_DIR"])


def client(service):
    return boto3.client(
        service,
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region_name=os.environ["AWS_REGION"],
        verify=os.environ["AWS_CA_BUNDLE"],
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


KMS = client("kms")


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, stdout=subprocess.PIPE, check=True).stdout


def cbor(v):
    """Encodes what documents have (RFC 8949)."""

    def head(major, n):
        if n < 24:
            return bytes([major << 5 | n])
        size = 1 if n < 1 << 8 else 2 if n < 1 << 16 else 4 if n < 1 << 32 else 8
        return bytes([major << 5 | 23 + size.bit_length()]) + n.to_bytes(size, "big")

    if v is None:
        return b"\xf6"
    if isinstance(v, int):
        return head(0, v) if v >= 0 else head(1, -1 - v)
    if isinstance(v, bytes):
        return head(2, len(v)) + v
    if isinstance(v, str):
        return head(3, len(v.encode())) + v.encode()
    if isinstance(v, list):
        return head(4, len(v)) + b"".join(map(cbor, v))
    return head(5, len(v)) + b"".join(cbor(k) + cbor(v[k]) for k in v)


def concatenated(der):
    """Returns a signature of ECDSA as COSE has it: r and s, one behind the other."""
    at, numbers = 2, b""
    for _ in range(2):
        n = der[at + 1]
        numbers += der[at + 2 : at + 2 + n].lstrip(b"\0").rjust(48, b"\0")
        at += 2 + n
    return numbers


def register(n):
    return hashlib.sha384(b"%d" % n).digest()


def document(tpm=False, root="root", age=0, **changed):
    read = lambda name: (DIR / (name + ".der")).read_bytes()
    payload = {
        "module_id": "i-0123456789abcdef0-" + ("tpm0000000000000000" if tpm else "enc0123456789abcdef"),
        "digest": "SHA384",
        "timestamp": int((time.time() - age) * 1000),
        "nitrotpm_pcrs" if tpm else "pcrs": {n: register(n) for n in range(24 if tpm else 16)},
        "certificate": read("leaf"),
        "cabundle": [read(name) for name in (root, "regional", "zonal", "instance")],
        "public_key": read("enclave"),
        "user_data": None,
        "nonce": None,
    }
    payload.update(changed)
    protected, signed = cbor({1: -35}), cbor(payload)
    signature = openssl("dgst", "-sha384", "-sign", str(DIR / "leaf.key"), stdin=cbor(["Signature1", protected, b"", signed]))
    return cbor([protected, {}, signed, concatenated(signature)])


def recipient(**changed):
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document(**changed)}


def opened(envelope):
    return openssl("cms", "-decrypt", "-inform", "DER", "-binary", "-inkey", str(DIR / "enclave.key"), stdin=envelope)


class Recipient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = KMS.create_key()["KeyMetadata"]["Arn"]

    def test_decrypt(self):
        for plaintext in b"x", b"hello world", bytes(range(256)) * 16:
            blob = KMS.encrypt(KeyId=self.key, Plaintext=plaintext)["CiphertextBlob"]
            for tpm in False, True:
                got = KMS.decrypt(CiphertextBlob=blob, Recipient=recipient(tpm=tpm))
                self.assertNotIn("Plaintext", got)
                self.assertEqual(got["KeyId"], self.key)
                self.assertEqual(opened(got["CiphertextForRecipient"]), plaintext)

    def test_data_key(self):
        got = KMS.generate_data_key(KeyId=self.key, KeySpec="AES_256", Recipient=recipient())
        self.assertNotIn("Plaintext", got)
        self.assertEqual(opened(got["CiphertextForRecipient"]), KMS.decrypt(CiphertextBlob=got["CiphertextBlob"])["Plaintext"])

    def test_data_key_pair(self):
        got = KMS.generate_data_key_pair(KeyId=self.key, KeyPairSpec="ECC_NIST_P384", Recipient=recipient())
        self.assertNotIn("PrivateKeyPlaintext", got)
        private = opened(got["CiphertextForRecipient"])
        self.assertEqual(openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", stdin=private), got["PublicKey"])

    def test_random(self):
        got = KMS.generate_random(NumberOfBytes=1024, Recipient=recipient(tpm=True))
        self.assertNotIn("Plaintext", got)
        self.assertEqual(len(opened(got["CiphertextForRecipient"])), 1024)

    @unittest.skipUnless(hasattr(KMS, "derive_shared_secret"), "a boto3 from before 2024-06")
    def test_shared_secret(self):
        mine, theirs = (KMS.create_key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")["KeyMetadata"]["KeyId"] for _ in range(2))
        asked = {"KeyId": mine, "KeyAgreementAlgorithm": "ECDH", "PublicKey": KMS.get_public_key(KeyId=theirs)["PublicKey"]}
        got = KMS.derive_shared_secret(Recipient=recipient(), **asked)
        self.assertNotIn("SharedSecret", got)
        self.assertEqual(opened(got["CiphertextForRecipient"]), KMS.derive_shared_secret(**asked)["SharedSecret"])

    def refused(self, code, message, **kwargs):
        with self.assertRaises(ClientError) as caught:
            KMS.generate_random(NumberOfBytes=1, **kwargs)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code)
        self.assertIn(message, error["Message"])

    def test_refused(self):
        for want, changed in (
            ("has expired", {"age": 301}),
            ("is of the future", {"age": -310}),
            ("is of no trusted authority", {"root": "stranger"}),
            ("has no public_key", {"public_key": None}),
            ("has another digest", {"digest": "SHA256"}),
        ):
            self.refused("ValidationException", "The attestation document " + want, Recipient=recipient(**changed))
        forged = recipient()
        changed = bytearray(forged["AttestationDocument"])
        changed[changed.index(register(0))] ^= 1
        forged["AttestationDocument"] = bytes(changed)
        self.refused("ValidationException", "is not signed by its certificate", Recipient=forged)

    def test_policy(self):
        account = self.key.split(":")[4]
        conditions = {
            "kms:RecipientAttestation:ImageSha384": register(0).hex().upper(),
            "kms:RecipientAttestation:PCR8": register(8).hex(),
        }
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": account}, "Action": ["kms:Encrypt", "kms:Describe*", "kms:Put*"], "Resource": "*"},
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": account},
                    "Action": "kms:Decrypt",
                    "Resource": "*",
                    "Condition": {"StringEqualsIgnoreCase": conditions},
                },
            ],
        }
        key = KMS.create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
        blob = KMS.encrypt(KeyId=key, Plaintext=b"hello")["CiphertextBlob"]
        another = {n: register(n + 1) for n in range(16)}
        for asked in {}, {"Recipient": recipient(pcrs=another)}, {"Recipient": recipient(tpm=True)}:
            with self.assertRaises(ClientError) as caught:
                KMS.decrypt(CiphertextBlob=blob, **asked)
            self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDeniedException")
        got = KMS.decrypt(CiphertextBlob=blob, Recipient=recipient())
        self.assertEqual(opened(got["CiphertextForRecipient"]), b"hello")

        found = client("cloudtrail").lookup_events(LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": key}])["Events"]
        events = [json.loads(e["CloudTrailEvent"]) for e in found]
        shown = [e["additionalEventData"]["recipient"] for e in events if e["eventName"] == "Decrypt" and "errorCode" not in e]
        text = lambda n: base64.b64encode(register(n)).decode()
        want = {"attestationDocumentModuleId": "i-0123456789abcdef0-enc0123456789abcdef", "attestationDocumentEnclaveImageDigest": text(0)}
        want.update({"attestationDocumentEnclavePCR%d" % n: text(n) for n in (1, 2, 3, 4, 8)})
        self.assertEqual(shown, [want])


if __name__ == "__main__":
    unittest.main()
