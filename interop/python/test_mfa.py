"""boto3 against a running keyreeve: virtual MFA devices, and what needs MFA.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import time
import unittest
import uuid
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT


def client(service, credentials=None):
    keys = {}
    if credentials:
        keys = {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials.get("SessionToken"),
        }
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=os.environ["AWS_REGION"],
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **keys,
    )


IAM, STS = client("iam"), client("sts")


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def name(prefix):
    return prefix + "-" + uuid.uuid4().hex[:8]


WITH_MFA = {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}, "NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}}


class Phone:
    """A virtual MFA device and its seed, as RFC 6238 has it."""

    def __init__(self, device):
        self.serial = device["SerialNumber"]
        self.seed = base64.b32decode(device["Base32StringSeed"])

    def code(self, steps=0, now=None):
        """The code of some steps of 30 seconds from now."""
        counter = struct.pack(">Q", int(now or time.time()) // 30 + steps)
        digest = hmac.new(self.seed, counter, hashlib.sha1).digest()
        at = digest[-1] & 15
        return "%06d" % ((struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF) % 1000000)


class MFA(unittest.TestCase):
    def refused(self, code, call, **kwargs):
        """Asserts that a call is refused with one error, and returns its text."""
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response["Error"]["Message"]

    def user(self, *statements):
        """A user with an inline policy, an access key and an enabled device."""
        user = IAM.create_user(UserName=name("user"))["User"]
        IAM.put_user_policy(UserName=user["UserName"], PolicyName="own", PolicyDocument=policy(*statements))
        phone = Phone(IAM.create_virtual_mfa_device(VirtualMFADeviceName=user["UserName"])["VirtualMFADevice"])
        now = time.time()  # once, for a step may end in between
        IAM.enable_mfa_device(
            UserName=user["UserName"], SerialNumber=phone.serial, AuthenticationCode1=phone.code(-1, now), AuthenticationCode2=phone.code(0, now)
        )
        return user, IAM.create_access_key(UserName=user["UserName"])["AccessKey"], phone

    def test_device(self):
        user, _, phone = self.user({"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"})
        who = user["UserName"]
        device = IAM.create_virtual_mfa_device(VirtualMFADeviceName=who, Path="/spare/", Tags=[{"Key": "kind", "Value": "spare"}])["VirtualMFADevice"]
        self.assertEqual(device["QRCodePNG"][:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(len(Phone(device).seed), 40)
        same = Phone(device).code()
        self.refused(
            "InvalidAuthenticationCode", IAM.enable_mfa_device, UserName=who, SerialNumber=device["SerialNumber"],
            AuthenticationCode1=same, AuthenticationCode2=same,
        )
        listed = IAM.list_mfa_devices(UserName=who)["MFADevices"]
        self.assertEqual([(d["UserName"], d["SerialNumber"]) for d in listed], [(who, phone.serial)])
        virtual = {
            d["SerialNumber"]: d.get("User", {}).get("Arn")
            for page in IAM.get_paginator("list_virtual_mfa_devices").paginate(PaginationConfig={"PageSize": 1})
            for d in page["VirtualMFADevices"]
        }
        self.assertEqual(virtual[phone.serial], user["Arn"])
        self.assertIsNone(virtual[device["SerialNumber"]])
        self.assertEqual(IAM.list_mfa_device_tags(SerialNumber=device["SerialNumber"])["Tags"], [{"Key": "kind", "Value": "spare"}])
        self.assertGreaterEqual(IAM.get_account_summary()["SummaryMap"]["MFADevicesInUse"], 1)

        self.refused("DeleteConflict", IAM.delete_virtual_mfa_device, SerialNumber=phone.serial)
        IAM.deactivate_mfa_device(UserName=who, SerialNumber=phone.serial)
        IAM.delete_virtual_mfa_device(SerialNumber=phone.serial)
        IAM.delete_virtual_mfa_device(SerialNumber=device["SerialNumber"])
        self.assertEqual(IAM.list_mfa_devices(UserName=who)["MFADevices"], [])

    def test_session(self):
        """GetSessionToken: what needs MFA, IAM among it, can be done with it."""
        _, keys, phone = self.user(
            {"Effect": "Allow", "Action": "kms:ListKeys", "Resource": "*", **WITH_MFA}, {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}
        )
        sts = client("sts", keys)
        self.refused("AccessDeniedException", client("kms", keys).list_keys)
        plain = sts.get_session_token()["Credentials"]
        self.refused("AccessDeniedException", client("kms", plain).list_keys)
        self.refused("InvalidClientTokenId", client("iam", plain).list_users)

        self.refused("AccessDenied", sts.get_session_token, SerialNumber=phone.serial)
        code = phone.code(1)
        strong = sts.get_session_token(SerialNumber=phone.serial, TokenCode=code)["Credentials"]
        client("kms", strong).list_keys()
        client("iam", strong).list_users()
        again = self.refused("AccessDenied", sts.get_session_token, SerialNumber=phone.serial, TokenCode=code)
        self.assertIn("invalid MFA one time pass code", again)
        foreign = self.refused("AccessDenied", STS.get_session_token, SerialNumber=phone.serial, TokenCode=phone.code())
        self.assertIn("unable to validate MFA code", foreign)

    def test_role(self):
        """AssumeRole of a role whose trust policy wants MFA."""
        user, keys, phone = self.user({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
        role = IAM.create_role(
            RoleName=name("role"),
            AssumeRolePolicyDocument=policy({"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "sts:AssumeRole", **WITH_MFA}),
        )["Role"]
        sts = client("sts", keys)
        assume = {"RoleArn": role["Arn"], "RoleSessionName": "with-mfa"}
        self.refused("AccessDenied", sts.assume_role, **assume)
        made = sts.assume_role(**assume, SerialNumber=phone.serial, TokenCode=phone.code(1))["Credentials"]
        self.assertTrue(client("sts", made).get_caller_identity()["Arn"].endswith("/with-mfa"))

    def test_guessing(self):
        """After a few wrong codes, even a right one has to wait."""
        _, keys, phone = self.user({"Effect": "Allow", "Action": "*", "Resource": "*"})
        sts = client("sts", keys)
        near = {phone.code(steps) for steps in range(-4, 5)}
        wrong = next(code for code in ("%06d" % n for n in range(20)) if code not in near)
        for _ in range(5):
            self.refused("AccessDenied", sts.get_session_token, SerialNumber=phone.serial, TokenCode=wrong)
        self.assertIn("too many", self.refused("AccessDenied", sts.get_session_token, SerialNumber=phone.serial, TokenCode=phone.code(1)))


class OIDCProviders(unittest.TestCase):
    def test_provider(self):
        url = "https://" + uuid.uuid4().hex + ".example/team"
        made = IAM.create_open_id_connect_provider(
            Url=url, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["6938fd4d98bab03faadb97b34396831e3780aea1"], Tags=[{"Key": "a", "Value": "b"}]
        )
        arn = made["OpenIDConnectProviderArn"]
        self.assertTrue(arn.endswith(":oidc-provider/" + url.removeprefix("https://")))
        IAM.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="app")
        IAM.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="sts.amazonaws.com")
        IAM.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["1b511abead59c6ce207077c0bf0e0043b1382612"])
        got = IAM.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        self.assertEqual(
            (got["Url"], got["ClientIDList"], got["ThumbprintList"], got["Tags"]),
            (url.removeprefix("https://"), ["app"], ["1b511abead59c6ce207077c0bf0e0043b1382612"], [{"Key": "a", "Value": "b"}]),
        )
        self.assertIn(arn, [p["Arn"] for p in IAM.list_open_id_connect_providers()["OpenIDConnectProviderList"]])
        IAM.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        with self.assertRaises(ClientError) as caught:
            IAM.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        self.assertEqual(caught.exception.response["Error"]["Code"], "NoSuchEntity")


if __name__ == "__main__":
    unittest.main()
