"""boto3 and OpenSSL against a running keyreeve that has a Region of China: to
be run with

    regions: [us-east-1, cn-north-1, cn-northwest-1]

Endpoint, credentials and CA come from the environment, as `keyreeve env` prints
them. OpenSSL must know SM2.
"""

import os
import subprocess
import tempfile
import unittest
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT


def client(region):
    return boto3.client(
        "kms",
        endpoint_url=ENDPOINT,
        region_name=region,
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


KMS = client("cn-north-1")
ID = "distid:1234567812345678"


class SM2(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def openssl(self, *arguments, **files):
        """Runs openssl with files beside it and returns what it has put into "out"."""
        for name, content in files.items():
            with open(os.path.join(self.dir.name, name), "wb") as file:
                file.write(content)
        subprocess.run(["openssl", *arguments], cwd=self.dir.name, check=True, capture_output=True)
        try:
            with open(os.path.join(self.dir.name, "out"), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def key(self, usage, **more):
        key = KMS.create_key(KeySpec="SM2", KeyUsage=usage, **more)["KeyMetadata"]
        self.assertEqual(key["Arn"].split(":")[:4], ["arn", "aws-cn", "kms", "cn-north-1"])
        return key["KeyId"]

    def theirs(self):
        """Makes OpenSSL a key, "theirs", and returns its two halves."""
        self.openssl("genpkey", "-algorithm", "SM2", "-out", "theirs")
        private = self.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "theirs", "-outform", "DER", "-out", "out")
        return private, self.openssl("pkey", "-in", "theirs", "-pubout", "-outform", "DER", "-out", "out")

    def test_signatures(self):
        key, message = self.key("SIGN_VERIFY"), b"a message"
        made = KMS.sign(KeyId=key, Message=message, SigningAlgorithm="SM2DSA")
        public = KMS.get_public_key(KeyId=key)
        self.assertEqual(public["SigningAlgorithms"], ["SM2DSA"])
        self.openssl(
            "pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pkeyopt", ID, "-pubin", "-keyform", "DER", "-inkey", "public",
            "-in", "message", "-sigfile", "signature", public=public["PublicKey"], message=message, signature=made["Signature"],
        )
        self.assertTrue(KMS.verify(KeyId=key, Message=message, SigningAlgorithm="SM2DSA", Signature=made["Signature"])["SignatureValid"])
        digest = KMS.sign(KeyId=key, Message=b"d" * 32, MessageType="DIGEST", SigningAlgorithm="SM2DSA")["Signature"]
        with self.assertRaises(KMS.exceptions.KMSInvalidSignatureException):
            KMS.verify(KeyId=key, Message=b"d" * 32, SigningAlgorithm="SM2DSA", Signature=digest)

    def test_ciphertexts(self):
        key, plaintext = self.key("ENCRYPT_DECRYPT"), os.urandom(1024)
        public = KMS.get_public_key(KeyId=key)["PublicKey"]
        theirs = self.openssl("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public", "-in", "plaintext", "-out", "out", public=public, plaintext=plaintext)
        self.assertEqual(KMS.decrypt(KeyId=key, CiphertextBlob=theirs, EncryptionAlgorithm="SM2PKE")["Plaintext"], plaintext)
        with self.assertRaises(KMS.exceptions.InvalidCiphertextException):
            KMS.decrypt(KeyId=self.key("ENCRYPT_DECRYPT"), CiphertextBlob=theirs, EncryptionAlgorithm="SM2PKE")

    def test_imported_key(self):
        private, public = self.theirs()
        key = self.key("ENCRYPT_DECRYPT", Origin="EXTERNAL")
        # Wrapped by a key of SM2, as all private keys can be in China.
        parameters = KMS.get_parameters_for_import(KeyId=key, WrappingAlgorithm="SM2PKE", WrappingKeySpec="SM2")
        wrapped = self.openssl(
            "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "wrapping", "-in", "private", "-out", "out",
            wrapping=parameters["PublicKey"], private=private,
        )
        KMS.import_key_material(
            KeyId=key, ImportToken=parameters["ImportToken"], EncryptedKeyMaterial=wrapped, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
        self.assertEqual(KMS.get_public_key(KeyId=key)["PublicKey"], public)
        blob = KMS.encrypt(KeyId=key, Plaintext=b"to OpenSSL", EncryptionAlgorithm="SM2PKE")["CiphertextBlob"]
        self.assertEqual(self.openssl("pkeyutl", "-decrypt", "-inkey", "theirs", "-in", "blob", "-out", "out", blob=blob), b"to OpenSSL")

    def test_data_key_pair(self):
        key = KMS.create_key()["KeyMetadata"]["KeyId"]
        pair = KMS.generate_data_key_pair(KeyId=key, KeyPairSpec="SM2")
        self.assertEqual(
            self.openssl("pkey", "-inform", "DER", "-in", "pair", "-pubout", "-outform", "DER", "-out", "out", pair=pair["PrivateKeyPlaintext"]),
            pair["PublicKey"],
        )
        self.assertEqual(KMS.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"])["Plaintext"], pair["PrivateKeyPlaintext"])

    @unittest.skipUnless(hasattr(KMS, "derive_shared_secret"), "boto3 does not know key agreement")
    def test_shared_secret(self):
        ours = [self.key("KEY_AGREEMENT") for _ in range(2)]
        public = [KMS.get_public_key(KeyId=key)["PublicKey"] for key in ours]
        secrets = [
            KMS.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=peer)["SharedSecret"]
            for key, peer in zip(ours, reversed(public))
        ]
        self.assertEqual(secrets[0], secrets[1])
        self.assertEqual(len(secrets[0]), 32)

    def test_elsewhere(self):
        with self.assertRaises(ClientError) as caught:
            client("us-east-1").create_key(KeySpec="SM2", KeyUsage="SIGN_VERIFY")
        self.assertEqual(caught.exception.response["Error"]["Code"], "UnsupportedOperationException")
        self.assertEqual(caught.exception.response["Error"]["Message"], "KeySpec SM2 is not supported in this Region")


if __name__ == "__main__":
    unittest.main()
