"""boto3 with a token instead of credentials: AssumeRoleWithWebIdentity, then
Decrypt as the role.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import base64
import json
import os
import subprocess
import time
import unittest
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT
DIR, HOST = os.environ["ISSUER_DIR"], os.environ["ISSUER_HOST"]
SUBJECT = "repo:octo/app:ref:refs/heads/main"


def client(service, **kwargs):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=os.environ["AWS_REGION"],
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **kwargs,
    )


def part(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def token(**claims):
    now = int(time.time())
    claims = {"iss": f"https://{HOST}", "aud": "sts.amazonaws.com", "sub": SUBJECT, "iat": now, "exp": now + 300, **claims}
    text = part({"alg": "RS256", "typ": "JWT", "kid": "one"}) + "." + part(claims)
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", DIR + "/signing.key"], input=text.encode(), capture_output=True, check=True)
    return text + "." + part(signature.stdout)


class WebIdentity(unittest.TestCase):
    def test_role(self):
        iam, kms, sts = client("iam"), client("kms"), client("sts")
        for c in (iam, kms, sts):
            self.addCleanup(getattr(c, "close", lambda: None))
        # Clients of then want a thumbprint; it is of no certificate here.
        made = iam.create_open_id_connect_provider(Url=f"https://{HOST}", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["00" * 20])
        provider = made["OpenIDConnectProviderArn"]
        trust = {
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{HOST}:aud": "sts.amazonaws.com"}, "StringLike": {f"{HOST}:sub": "repo:octo/app:*"}},
            }],
        }
        role = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}]}
        iam.put_role_policy(RoleName="deploy", PolicyName="decrypt", PolicyDocument=json.dumps(allow))
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        blob = kms.encrypt(KeyId=key, Plaintext=b"hello")["CiphertextBlob"]

        answer = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="ci", WebIdentityToken=token())
        self.assertEqual(answer["SubjectFromWebIdentityToken"], SUBJECT)
        self.assertEqual(answer["Audience"], "sts.amazonaws.com")
        self.assertEqual(answer["Provider"], provider)
        given = answer["Credentials"]
        mine = {
            "aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
        workflow, whoami = client("kms", **mine), client("sts", **mine)
        for c in (workflow, whoami):
            self.addCleanup(getattr(c, "close", lambda: None))
        self.assertEqual(whoami.get_caller_identity()["Arn"], answer["AssumedRoleUser"]["Arn"])
        self.assertEqual(workflow.decrypt(CiphertextBlob=blob)["Plaintext"], b"hello")
        with self.assertRaises(ClientError):
            workflow.encrypt(KeyId=key, Plaintext=b"hello")

        for text, code in {
            token(sub="repo:evil/app:ref:refs/heads/main"): "AccessDenied",
            token(aud="somebody.else"): "InvalidIdentityToken",
            token(exp=int(time.time()) - 60): "ExpiredTokenException",
            token(iss="https://evil.example.com"): "InvalidIdentityToken",
            token()[:-20] + "AAAAAAAAAAAAAAAAAAAA": "InvalidIdentityToken",
            "an access token": "InvalidIdentityToken",
        }.items():
            with self.assertRaises(ClientError) as caught:
                sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="ci", WebIdentityToken=text)
            self.assertEqual(caught.exception.response["Error"]["Code"], code)


if __name__ == "__main__":
    unittest.main()
