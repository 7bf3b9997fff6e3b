"""boto3 and OpenSSL import key material, as AWS's guide has it done.

OpenSSL makes the material, wraps it under the key that GetParametersForImport
gives, and then does by itself what the imported key does.
"""

import hashlib
import hmac
import os
import subprocess
import tempfile
import time
import unittest
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT

KMS = boto3.client(
    "kms",
    endpoint_url=ENDPOINT,
    region_name=os.environ["AWS_REGION"],
    verify=os.environ["AWS_CA_BUNDLE"],
    config=botocore.config.Config(retries={"max_attempts": 0}),
)

# Parameters of 2025: several materials of one key.
SEVERAL = "ImportType" in KMS.meta.service_model.operation_model("ImportKeyMaterial").input_shape.members


class Files:
    """A folder of files that OpenSSL reads and writes."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder.name, check=True, capture_output=True)


def wrap(files, algorithm, public, material):
    """Wraps material under a public key, both in DER or raw."""
    files.write("wrapping.der", public)
    files.write("material", material)
    digest = {"1": "sha1", "256": "sha256"}[algorithm.rsplit("_", 1)[1]]

    def oaep(name, out):
        files.openssl(
            "pkeyutl", "-encrypt", "-in", name, "-out", out, "-inkey", "wrapping.der", "-keyform", "DER", "-pubin",
            "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:" + digest, "-pkeyopt", "rsa_mgf1_md:" + digest,
        )

    if algorithm.startswith("RSAES_OAEP_"):
        oaep("material", "wrapped")
        return files.read("wrapped")
    files.openssl("rand", "-out", "aes", "32")
    files.openssl("enc", "-id-aes256-wrap-pad", "-K", files.read("aes").hex(), "-iv", "A65959A6", "-in", "material", "-out", "kwp")
    oaep("aes", "wrapped")
    return files.read("wrapped") + files.read("kwp")


class Import(unittest.TestCase):
    def setUp(self):
        self.files = Files()
        self.addCleanup(self.files.folder.cleanup)

    def refused(self, code, call, **kwargs):
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response["Error"]["Message"]

    def create(self, **kwargs):
        key = KMS.create_key(Origin="EXTERNAL", **kwargs)["KeyMetadata"]
        self.assertEqual(key["KeyState"], "PendingImport")
        return key

    def wrapped(self, key, material, algorithm="RSAES_OAEP_SHA_256", spec="RSA_2048"):
        p = KMS.get_parameters_for_import(KeyId=key["KeyId"], WrappingAlgorithm=algorithm, WrappingKeySpec=spec)
        self.assertEqual(p["KeyId"], key["Arn"])
        left = p["ParametersValidTo"] - datetime.now(timezone.utc)
        self.assertTrue(timedelta(hours=23) < left <= timedelta(hours=24), left)
        return {
            "KeyId": key["KeyId"],
            "ImportToken": p["ImportToken"],
            "EncryptedKeyMaterial": wrap(self.files, algorithm, p["PublicKey"], material),
        }

    def imports(self, key, material, *how, **kwargs):
        kwargs.setdefault("ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE")
        return KMS.import_key_material(**self.wrapped(key, material, *how), **kwargs)

    def test_symmetric(self):
        key = self.create()
        material = os.urandom(32)
        self.refused("KMSInvalidStateException", KMS.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
        self.imports(key, material, "RSAES_OAEP_SHA_1", "RSA_3072")
        now = KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual((now["KeyState"], now["Origin"], now["ExpirationModel"]), ("Enabled", "EXTERNAL", "KEY_MATERIAL_DOES_NOT_EXPIRE"))
        blob = KMS.encrypt(KeyId=key["KeyId"], Plaintext=b"hello")["CiphertextBlob"]
        KMS.delete_imported_key_material(KeyId=key["KeyId"])
        self.refused("KMSInvalidStateException", KMS.decrypt, CiphertextBlob=blob)
        self.refused("IncorrectKeyMaterialException", self.imports, key=key, material=os.urandom(32))
        self.imports(key, material)
        self.assertEqual(KMS.decrypt(CiphertextBlob=blob)["Plaintext"], b"hello")

    def test_macs(self):
        for spec, hashed, n in ("HMAC_224", "sha224", 28), ("HMAC_256", "sha256", 128), ("HMAC_384", "sha384", 100), ("HMAC_512", "sha512", 64):
            key = self.create(KeySpec=spec, KeyUsage="GENERATE_VERIFY_MAC")
            material = os.urandom(n)
            self.imports(key, material)
            got = KMS.generate_mac(KeyId=key["KeyId"], Message=b"message", MacAlgorithm="HMAC_SHA_" + spec[5:])["Mac"]
            self.assertEqual(got, hmac.new(material, b"message", hashed).digest())

    def test_key_pairs(self):
        rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        for spec, make, algorithm, how in (
            ("RSA_2048", rsa, "RSASSA_PKCS1_V1_5_SHA_256", ("RSA_AES_KEY_WRAP_SHA_256", "RSA_2048")),
            ("RSA_2048", rsa, "RSASSA_PKCS1_V1_5_SHA_256", ("RSA_AES_KEY_WRAP_SHA_1", "RSA_4096")),
            ("ECC_NIST_P256", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "ECDSA_SHA_256", ("RSAES_OAEP_SHA_256", "RSA_2048")),
            ("ECC_NIST_P384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "ECDSA_SHA_384", ("RSAES_OAEP_SHA_1", "RSA_3072")),
            ("ECC_NIST_P521", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], "ECDSA_SHA_512", ("RSA_AES_KEY_WRAP_SHA_256", "RSA_2048")),
            ("ECC_SECG_P256K1", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "ECDSA_SHA_256", ("RSAES_OAEP_SHA_256", "RSA_2048")),
        ):
            with self.subTest(spec=spec, how=how):
                key = self.create(KeySpec=spec, KeyUsage="SIGN_VERIFY")
                self.files.openssl("genpkey", *make, "-outform", "DER", "-out", "sec1.der")
                self.files.openssl("pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-in", "sec1.der", "-outform", "DER", "-out", "private.der")
                self.files.openssl("pkey", "-inform", "DER", "-in", "private.der", "-pubout", "-outform", "DER", "-out", "public.der")
                self.refused("KMSInvalidStateException", KMS.get_public_key, KeyId=key["KeyId"])
                self.imports(key, self.files.read("private.der"), *how)
                self.assertEqual(KMS.get_public_key(KeyId=key["KeyId"])["PublicKey"], self.files.read("public.der"))
                signature = KMS.sign(KeyId=key["KeyId"], Message=b"message", SigningAlgorithm=algorithm)["Signature"]
                self.files.write("message", b"message")
                self.files.write("signature", signature)
                digest = "-sha" + algorithm.rsplit("_", 1)[1]
                self.files.openssl("dgst", digest, "-verify", "public.der", "-keyform", "DER", "-signature", "signature", "message")
                self.files.openssl("dgst", digest, "-sign", "private.der", "-keyform", "DER", "-out", "theirs", "message")
                got = KMS.verify(KeyId=key["KeyId"], Message=b"message", Signature=self.files.read("theirs"), SigningAlgorithm=algorithm)
                self.assertTrue(got["SignatureValid"])

    def test_expiry(self):
        key = self.create(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=3)
        self.imports(key, os.urandom(32), ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=at)
        now = KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual((now["KeyState"], now["ExpirationModel"], now["ValidTo"]), ("Enabled", "KEY_MATERIAL_EXPIRES", at))
        mac = {"KeyId": key["KeyId"], "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
        KMS.generate_mac(**mac)
        while datetime.now(timezone.utc) < at:
            time.sleep(0.1)
        self.refused("KMSInvalidStateException", KMS.generate_mac, **mac)
        now = KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual(now["KeyState"], "PendingImport")
        self.assertNotIn("ValidTo", now)

    def test_refusals(self):
        key, other = self.create(), self.create()
        request = self.wrapped(key, os.urandom(32))
        forever = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
        self.refused("ValidationException", KMS.import_key_material, **request)
        self.refused("ValidationException", KMS.import_key_material, **request, ValidTo=datetime.now(timezone.utc) - timedelta(seconds=1))
        self.refused("ValidationException", KMS.import_key_material, **request, ValidTo=datetime.now(timezone.utc) + timedelta(days=366))
        self.refused("InvalidImportTokenException", KMS.import_key_material, **{**request, "KeyId": other["KeyId"]}, **forever)
        self.refused("InvalidImportTokenException", KMS.import_key_material, **{**request, "ImportToken": os.urandom(1000)}, **forever)
        self.refused("InvalidCiphertextException", KMS.import_key_material, **{**request, "EncryptedKeyMaterial": os.urandom(256)}, **forever)
        self.refused("InvalidCiphertextException", self.imports, key=key, material=os.urandom(16))
        ours = KMS.create_key()["KeyMetadata"]
        text = self.refused("UnsupportedOperationException", KMS.get_parameters_for_import, KeyId=ours["KeyId"], WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
        self.assertEqual(text, ours["Arn"] + " origin is AWS_KMS which is not valid for this operation.")

    @unittest.skipUnless(SEVERAL, "of 2025")
    def test_several(self):
        key = self.create()
        one = self.imports(key, b"1" * 32, KeyMaterialDescription="first")["KeyMaterialId"]
        blob = KMS.encrypt(KeyId=key["KeyId"], Plaintext=b"old")["CiphertextBlob"]
        two = self.imports(key, b"2" * 32, ImportType="NEW_KEY_MATERIAL")["KeyMaterialId"]
        text = self.refused("KMSInvalidStateException", self.imports, key=key, material=b"3" * 32, ImportType="NEW_KEY_MATERIAL")
        self.assertIn("because another key material (id: %s) is pending rotation." % two, text)
        KMS.rotate_key_on_demand(KeyId=key["KeyId"])
        now = KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual(now["CurrentKeyMaterialId"], two)
        got = KMS.decrypt(CiphertextBlob=blob)
        self.assertEqual((got["Plaintext"], got["KeyMaterialId"]), (b"old", one))
        KMS.delete_imported_key_material(KeyId=key["KeyId"], KeyMaterialId=one)
        self.refused("KMSInvalidStateException", KMS.decrypt, CiphertextBlob=blob)
        self.imports(key, b"1" * 32, KeyMaterialId=one)
        self.assertEqual(KMS.decrypt(CiphertextBlob=blob)["Plaintext"], b"old")
        listed = KMS.list_key_rotations(KeyId=key["KeyId"], IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
        self.assertEqual(sorted(r["KeyMaterialId"] for r in listed), sorted([one, two]))


if __name__ == "__main__":
    unittest.main()
