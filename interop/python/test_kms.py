"""boto3 against a running keyreeve.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them; the endpoint is given to boto3 explicitly, because
old versions do not look for it there.
"""

import hashlib
import hmac
import os
import unittest
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT


def client(**kwargs):
    return boto3.client(
        "kms",
        endpoint_url=ENDPOINT,
        region_name=os.environ["AWS_REGION"],
        verify=os.environ["AWS_CA_BUNDLE"],
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **kwargs,
    )


KMS = client()


class Case(unittest.TestCase):
    def refused(self, code, call, status=400, **kwargs):
        """Asserts that a call is refused with one error, and returns its text."""
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        response = caught.exception.response
        self.assertEqual(response["Error"]["Code"], code)
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], status)
        self.assertTrue(response["ResponseMetadata"]["RequestId"])
        return response["Error"]["Message"]


class Symmetric(Case):
    @classmethod
    def setUpClass(cls):
        cls.key = KMS.create_key(Description="from Python")["KeyMetadata"]

    def test_describe(self):
        for name in self.key["KeyId"], self.key["Arn"]:
            got = KMS.describe_key(KeyId=name)["KeyMetadata"]
            self.assertEqual(got, self.key)
        self.assertEqual(self.key["KeySpec"], "SYMMETRIC_DEFAULT")
        self.assertEqual(self.key["EncryptionAlgorithms"], ["SYMMETRIC_DEFAULT"])
        self.assertEqual(self.key["Origin"], "AWS_KMS")
        self.assertEqual(self.key["KeyManager"], "CUSTOMER")
        self.assertIs(self.key["MultiRegion"], False)
        self.assertIs(self.key["Enabled"], True)

    def test_round_trip(self):
        for plaintext in b"x", b"\x00" * 4096, bytes(range(256)):
            for context in {}, {"a": "b"}, {"a": "", "ключ": "значение"}:
                blob = KMS.encrypt(KeyId=self.key["KeyId"], Plaintext=plaintext, EncryptionContext=context)["CiphertextBlob"]
                self.assertLessEqual(len(blob), 6144)
                opened = KMS.decrypt(CiphertextBlob=blob, EncryptionContext=context)
                self.assertEqual(opened["Plaintext"], plaintext)
                self.assertEqual(opened["KeyId"], self.key["Arn"])

    def test_context_is_bound(self):
        blob = KMS.encrypt(KeyId=self.key["KeyId"], Plaintext=b"x", EncryptionContext={"a": "bc"})["CiphertextBlob"]
        for context in {}, {"ab": "c"}, {"a": "bC"}, {"a": "bc", "d": ""}:
            self.refused("InvalidCiphertextException", KMS.decrypt, CiphertextBlob=blob, EncryptionContext=context)

    def test_every_flipped_bit_is_noticed(self):
        blob = KMS.encrypt(KeyId=self.key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
        for at in range(len(blob)):
            flipped = bytearray(blob)
            flipped[at] ^= 1 << (at % 8)
            with self.subTest(byte=at):
                self.refused("InvalidCiphertextException", KMS.decrypt, CiphertextBlob=bytes(flipped))

    def test_wrong_key(self):
        blob = KMS.encrypt(KeyId=self.key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
        other = KMS.create_key()["KeyMetadata"]["KeyId"]
        self.refused("IncorrectKeyException", KMS.decrypt, CiphertextBlob=blob, KeyId=other)

    def test_data_keys(self):
        for kwargs, size in (({"KeySpec": "AES_128"}, 16), ({"KeySpec": "AES_256"}, 32), ({"NumberOfBytes": 1024}, 1024)):
            made = KMS.generate_data_key(KeyId=self.key["KeyId"], EncryptionContext={"a": "b"}, **kwargs)
            self.assertEqual(len(made["Plaintext"]), size)
            opened = KMS.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext={"a": "b"})
            self.assertEqual(opened["Plaintext"], made["Plaintext"])
            made = KMS.generate_data_key_without_plaintext(KeyId=self.key["KeyId"], **kwargs)
            self.assertNotIn("Plaintext", made)
            self.assertEqual(len(KMS.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"]), size)
        self.refused("ValidationException", KMS.generate_data_key, KeyId=self.key["KeyId"])

    def test_data_key_pairs(self):
        for spec in "ECC_NIST_P256", "ECC_SECG_P256K1", "RSA_2048":
            pair = KMS.generate_data_key_pair(KeyId=self.key["KeyId"], KeyPairSpec=spec)
            self.assertEqual(KMS.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"])["Plaintext"], pair["PrivateKeyPlaintext"])
            self.assertTrue(pair["PublicKey"])

    def test_limits(self):
        text = self.refused("ValidationException", KMS.encrypt, KeyId=self.key["KeyId"], Plaintext=b"x" * 4097)
        self.assertEqual(
            text,
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
        )

    def test_too_large(self):
        # All of it is sent before the answer is read; a server that has closed
        # the connection by then is seen as a broken one.
        stranger = client(aws_access_key_id="AKIAI44QH8DHBEXAMPLE", aws_secret_access_key="no")
        for size in 1_100_000, 10_000_000:
            for _ in range(3):
                with self.subTest(size=size):
                    self.refused("RequestEntityTooLargeException", KMS.encrypt, status=413, KeyId=self.key["KeyId"], Plaintext=b"x" * size)
                    self.refused("UnrecognizedClientException", stranger.encrypt, KeyId=self.key["KeyId"], Plaintext=b"x" * size)

    def test_states(self):
        key = KMS.create_key()["KeyMetadata"]
        KMS.disable_key(KeyId=key["KeyId"])
        text = self.refused("DisabledException", KMS.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
        self.assertEqual(text, key["Arn"] + " is disabled.")
        KMS.enable_key(KeyId=key["KeyId"])
        KMS.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
        KMS.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
        text = self.refused("KMSInvalidStateException", KMS.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
        self.assertEqual(text, key["Arn"] + " is pending deletion.")
        KMS.cancel_key_deletion(KeyId=key["KeyId"])
        self.assertEqual(KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"], "Disabled")


class Asymmetric(Case):
    def test_signing(self):
        for spec, algorithms in {
            "ECC_NIST_P256": ["ECDSA_SHA_256"],
            "ECC_NIST_P521": ["ECDSA_SHA_512"],
            "RSA_2048": ["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_384"],
        }.items():
            key = KMS.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]
            for algorithm in algorithms:
                signature = KMS.sign(KeyId=key["KeyId"], Message=b"message", SigningAlgorithm=algorithm)["Signature"]
                verified = KMS.verify(KeyId=key["KeyId"], Message=b"message", Signature=signature, SigningAlgorithm=algorithm)
                self.assertIs(verified["SignatureValid"], True)
                self.refused(
                    "KMSInvalidSignatureException", KMS.verify, KeyId=key["KeyId"], Message=b"massage", Signature=signature, SigningAlgorithm=algorithm
                )
            public = KMS.get_public_key(KeyId=key["KeyId"])
            self.assertEqual(public["KeySpec"], spec)
            self.assertEqual(public["KeyUsage"], "SIGN_VERIFY")
            self.refused("InvalidKeyUsageException", KMS.encrypt, KeyId=key["KeyId"], Plaintext=b"x")

    def test_digest_length(self):
        key = KMS.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        text = self.refused("ValidationException", KMS.sign, KeyId=key, Message=b"x" * 31, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
        self.assertEqual(text, "Digest is invalid length for algorithm ECDSA_SHA_256.")

    def test_rsa_encryption(self):
        key = KMS.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
        for algorithm, limit in (("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)):
            blob = KMS.encrypt(KeyId=key, Plaintext=b"x" * limit, EncryptionAlgorithm=algorithm)["CiphertextBlob"]
            self.assertEqual(len(blob), 256)
            opened = KMS.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionAlgorithm=algorithm)
            self.assertEqual(opened["Plaintext"], b"x" * limit)
            self.refused("ValidationException", KMS.encrypt, KeyId=key, Plaintext=b"x" * (limit + 1), EncryptionAlgorithm=algorithm)

    def test_macs(self):
        for size in 224, 256, 384, 512:
            key = KMS.create_key(KeySpec="HMAC_%d" % size, KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
            algorithm = "HMAC_SHA_%d" % size
            mac = KMS.generate_mac(KeyId=key, Message=b"message", MacAlgorithm=algorithm)["Mac"]
            self.assertEqual(len(mac), size // 8)
            self.assertIs(KMS.verify_mac(KeyId=key, Message=b"message", Mac=mac, MacAlgorithm=algorithm)["MacValid"], True)
            wrong = hmac.new(b"another key", b"message", hashlib.sha256).digest()
            self.refused("KMSInvalidMacException", KMS.verify_mac, KeyId=key, Message=b"message", Mac=wrong, MacAlgorithm=algorithm)


class Names(Case):
    def test_aliases(self):
        first, second = (KMS.create_key()["KeyMetadata"] for _ in range(2))
        KMS.create_alias(AliasName="alias/python/one", TargetKeyId=first["KeyId"])
        self.assertEqual(KMS.describe_key(KeyId="alias/python/one")["KeyMetadata"]["Arn"], first["Arn"])
        self.refused("AlreadyExistsException", KMS.create_alias, AliasName="alias/python/one", TargetKeyId=second["KeyId"])
        self.refused("ValidationException", KMS.create_alias, AliasName="python", TargetKeyId=second["KeyId"])
        KMS.update_alias(AliasName="alias/python/one", TargetKeyId=second["KeyId"])
        self.assertEqual(KMS.describe_key(KeyId="alias/python/one")["KeyMetadata"]["Arn"], second["Arn"])
        self.assertEqual([a["AliasName"] for a in KMS.list_aliases(KeyId=second["KeyId"])["Aliases"]], ["alias/python/one"])
        KMS.delete_alias(AliasName="alias/python/one")
        self.refused("NotFoundException", KMS.describe_key, KeyId="alias/python/one")

    def test_tags(self):
        key = KMS.create_key(Tags=[{"TagKey": "a", "TagValue": "1"}])["KeyMetadata"]["KeyId"]
        KMS.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "2"}, {"TagKey": "b", "TagValue": ""}])
        tags = {t["TagKey"]: t["TagValue"] for t in KMS.list_resource_tags(KeyId=key)["Tags"]}
        self.assertEqual(tags, {"a": "2", "b": ""})
        KMS.untag_resource(KeyId=key, TagKeys=["a"])
        self.assertEqual([t["TagKey"] for t in KMS.list_resource_tags(KeyId=key)["Tags"]], ["b"])
        self.refused("TagException", KMS.tag_resource, KeyId=key, Tags=[{"TagKey": "aws:a", "TagValue": ""}])

    def test_pages(self):
        made = {KMS.create_key()["KeyMetadata"]["KeyId"] for _ in range(3)}
        listed = []
        for page in KMS.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2}):
            listed += [key["KeyId"] for key in page["Keys"]]
        self.assertLessEqual(made, set(listed))
        self.assertEqual(len(listed), len(set(listed)))

    @unittest.skipUnless(hasattr(KMS, "get_key_last_usage"), "boto3 of before 2026")
    def test_last_usage(self):
        key = KMS.create_key()["KeyMetadata"]
        before = KMS.get_key_last_usage(KeyId=key["KeyId"])
        self.assertEqual(before["KeyLastUsage"], {})
        self.assertEqual(before["KeyCreationDate"], key["CreationDate"])
        self.assertEqual(before["TrackingStartDate"], key["CreationDate"])
        made = KMS.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
        last = KMS.get_key_last_usage(KeyId=key["Arn"])["KeyLastUsage"]
        self.assertEqual((last["Operation"], last["KmsRequestId"]), ("Encrypt", made["ResponseMetadata"]["RequestId"]))
        self.refused("InvalidArnException", KMS.get_key_last_usage, KeyId=key["Arn"].replace("key/", "alias/"))

    def test_random(self):
        self.assertEqual(len(KMS.generate_random(NumberOfBytes=1024)["Plaintext"]), 1024)
        self.assertNotEqual(KMS.generate_random(NumberOfBytes=16)["Plaintext"], KMS.generate_random(NumberOfBytes=16)["Plaintext"])

    def test_not_routed(self):
        self.refused("UnknownOperationException", KMS.describe_custom_key_stores)

    def test_credentials(self):
        stranger = client(aws_access_key_id="AKIAI44QH8DHBEXAMPLE", aws_secret_access_key="no")
        self.refused("UnrecognizedClientException", stranger.list_keys)
        liar = client(aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="no")
        self.refused("InvalidSignatureException", liar.list_keys)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
