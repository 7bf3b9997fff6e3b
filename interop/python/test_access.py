"""boto3 against a running keyreeve: who may do what. Sessions of STS, key
policies and grants, as an application meets them.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import json
import os
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


IAM, KMS, STS = client("iam"), client("kms"), client("sts")
ME = STS.get_caller_identity()
ACCOUNT = ME["Account"]


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **rest):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **rest}


def trust(principal, *actions, **rest):
    return policy({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions) or "sts:AssumeRole", **rest})


def name(prefix):
    return prefix + "-" + uuid.uuid4().hex[:8]


class Case(unittest.TestCase):
    def refused(self, code, call, **kwargs):
        """Asserts that a call is refused with one error, and returns its text."""
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response["Error"]["Message"]

    def user(self, *statements):
        """A user with an inline policy, and a KMS client of it."""
        made = IAM.create_user(UserName=name("user"))["User"]
        if statements:
            IAM.put_user_policy(UserName=made["UserName"], PolicyName="own", PolicyDocument=policy(*statements))
        return made, IAM.create_access_key(UserName=made["UserName"])["AccessKey"]

    def role(self, document, *statements, **kwargs):
        made = IAM.create_role(RoleName=name("role"), AssumeRolePolicyDocument=document, **kwargs)["Role"]
        if statements:
            IAM.put_role_policy(RoleName=made["RoleName"], PolicyName="own", PolicyDocument=policy(*statements))
        return made

    def key(self, **kwargs):
        return KMS.create_key(**kwargs)["KeyMetadata"]["Arn"]


class Sessions(Case):
    def test_assume_role(self):
        user, keys = self.user()
        role = self.role(trust(user["Arn"]), allow(["kms:Encrypt", "kms:Decrypt"]))
        key = self.key()
        answer = client("sts", keys).assume_role(RoleArn=role["Arn"], RoleSessionName="one")
        session = answer["Credentials"]
        self.assertTrue(session["AccessKeyId"].startswith("ASIA"))
        who = client("sts", session).get_caller_identity()
        self.assertEqual(who["Arn"], f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/one")
        self.assertEqual(who["UserId"], role["RoleId"] + ":one")
        self.assertEqual(answer["AssumedRoleUser"], {"AssumedRoleId": who["UserId"], "Arn": who["Arn"]})
        kms = client("kms", session)
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        self.assertEqual(kms.decrypt(CiphertextBlob=blob)["Plaintext"], b"x")
        self.assertEqual(
            self.refused("AccessDeniedException", kms.describe_key, KeyId=key),
            f"User: {who['Arn']} is not authorized to perform: kms:DescribeKey on resource: {key} "
            "because no identity-based policy allows the kms:DescribeKey action",
        )
        # A session policy only takes away.
        narrow = client("sts", keys).assume_role(
            RoleArn=role["Arn"], RoleSessionName="two", Policy=policy(allow(["kms:Decrypt", "kms:DescribeKey"]))
        )["Credentials"]
        kms = client("kms", narrow)
        self.assertEqual(kms.decrypt(CiphertextBlob=blob)["Plaintext"], b"x")
        self.assertTrue(
            self.refused("AccessDeniedException", kms.encrypt, KeyId=key, Plaintext=b"x").endswith(
                "because no session policy allows the kms:Encrypt action"
            )
        )
        self.refused("AccessDeniedException", kms.describe_key, KeyId=key)
        # A role that is gone takes its sessions along, and a namesake has none of them.
        IAM.delete_role_policy(RoleName=role["RoleName"], PolicyName="own")
        IAM.delete_role(RoleName=role["RoleName"])
        IAM.create_role(RoleName=role["RoleName"], AssumeRolePolicyDocument=trust(user["Arn"]))
        self.refused("UnrecognizedClientException", client("kms", session).decrypt, CiphertextBlob=blob)
        # A token and a secret that are not of one session.
        mixed = dict(session, SessionToken=narrow["SessionToken"])
        self.refused("UnrecognizedClientException", client("kms", mixed).decrypt, CiphertextBlob=blob)
        self.refused("UnrecognizedClientException", client("kms", dict(session, SessionToken=None)).decrypt, CiphertextBlob=blob)

    def test_trust(self):
        user, keys = self.user()
        sts = client("sts", keys)
        role = self.role(trust(user["Arn"], Condition={"StringEquals": {"sts:ExternalId": "secret-word"}}))
        for kwargs in {}, {"ExternalId": "other-word"}:
            text = self.refused("AccessDenied", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="s1", **kwargs)
            self.assertTrue(text.startswith(f"User: {user['Arn']} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}"), text)
        sts.assume_role(RoleArn=role["Arn"], RoleSessionName="s1", ExternalId="secret-word")
        missing = f"arn:aws:iam::{ACCOUNT}:role/no-such-role"
        self.refused("AccessDenied", sts.assume_role, RoleArn=missing, RoleSessionName="s1")
        self.refused("ValidationError", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="a:b", ExternalId="secret-word")
        self.refused("ValidationError", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="s1", ExternalId="secret-word", DurationSeconds=7200)
        self.refused(
            "MalformedPolicyDocument", IAM.update_assume_role_policy, RoleName=role["RoleName"],
            PolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:user/nobody-of-that-name"),
        )

    def test_tags(self):
        user, keys = self.user()
        role = self.role(trust(user["Arn"], "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"))
        key = self.key(
            Policy=policy(
                {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"},
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": role["Arn"]},
                    "Action": "kms:Encrypt",
                    "Resource": "*",
                    "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red", "aws:SourceIdentity": "alice"}},
                },
            )
        )
        sts = client("sts", keys)

        def encrypt(**kwargs):
            session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="tagged", **kwargs)["Credentials"]
            return client("kms", session).encrypt(KeyId=key, Plaintext=b"x")

        red = [{"Key": "team", "Value": "red"}]
        encrypt(Tags=red, SourceIdentity="alice")
        self.refused("AccessDeniedException", encrypt, Tags=red)
        self.refused("AccessDeniedException", encrypt, SourceIdentity="alice")
        self.refused("AccessDeniedException", encrypt, Tags=[{"Key": "team", "Value": "blue"}], SourceIdentity="alice")

    def test_get_session_token(self):
        user, keys = self.user(allow("kms:*"), allow("iam:*"))
        session = client("sts", keys).get_session_token(DurationSeconds=900)["Credentials"]
        self.assertEqual(client("sts", session).get_caller_identity()["Arn"], user["Arn"])
        client("kms", session).list_keys()
        self.refused("AccessDenied", client("sts", session).get_session_token)
        with self.assertRaises(ClientError):
            client("iam", session).list_users()

    def test_get_federation_token(self):
        user, keys = self.user(allow("kms:*"), allow("sts:GetFederationToken"))
        key = self.key()
        sts = client("sts", keys)
        answer = sts.get_federation_token(Name="visitor", Policy=policy(allow("kms:Encrypt")))
        arn = f"arn:aws:sts::{ACCOUNT}:federated-user/visitor"
        self.assertEqual(answer["FederatedUser"], {"FederatedUserId": ACCOUNT + ":visitor", "Arn": arn})
        kms = client("kms", answer["Credentials"])
        kms.encrypt(KeyId=key, Plaintext=b"x")
        self.refused("AccessDeniedException", kms.describe_key, KeyId=key)
        bare = client("kms", sts.get_federation_token(Name="visitor")["Credentials"])
        self.refused("AccessDeniedException", bare.encrypt, KeyId=key, Plaintext=b"x")
        KMS.put_key_policy(
            KeyId=key,
            PolicyName="default",
            Policy=policy(
                {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"},
                {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "kms:Encrypt", "Resource": "*"},
            ),
        )
        bare.encrypt(KeyId=key, Plaintext=b"x")


class KeyPolicies(Case):
    def test_default(self):
        key = self.key()
        self.assertEqual(KMS.list_key_policies(KeyId=key)["PolicyNames"], ["default"])
        text = KMS.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        self.assertEqual(json.loads(text)["Statement"][0]["Principal"], {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        self.refused("NotFoundException", KMS.get_key_policy, KeyId=key, PolicyName="other")

    def test_malformed(self):
        key = self.key()
        before = KMS.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
        nobody = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody-of-that-name"}, "Action": "kms:*", "Resource": "*"}
        for document, text in (
            ("{", ""),
            (policy(root)[:-2] + ",]}", ""),
            (policy(dict(root, Condition={"StringEqualz": {"a": "b"}})), ""),
            (policy(dict(root, Resource="arn:aws:s3:::x")), ""),
            (policy(root, nobody), "Policy contains a statement with one or more invalid principals."),
            (policy(dict(root, Action="kms:Decrypt")), "The new key policy will not allow you to update the key policy in the future."),
        ):
            with self.subTest(document=document):
                got = self.refused("MalformedPolicyDocumentException", KMS.put_key_policy, KeyId=key, PolicyName="default", Policy=document)
                if text:
                    self.assertEqual(got, text)
        self.refused("LimitExceededException", KMS.put_key_policy, KeyId=key, PolicyName="default", Policy=policy(root, dict(root, Sid="x" * 33000)))
        self.assertEqual(KMS.get_key_policy(KeyId=key, PolicyName="default")["Policy"], before)

    def test_namesake(self):
        user, keys = self.user()
        root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
        theirs = {"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "kms:Encrypt", "Resource": "*"}
        key = self.key(Policy=policy(root, theirs))
        client("kms", keys).encrypt(KeyId=key, Plaintext=b"x")
        IAM.delete_access_key(UserName=user["UserName"], AccessKeyId=keys["AccessKeyId"])
        IAM.delete_user(UserName=user["UserName"])
        IAM.create_user(UserName=user["UserName"])
        again = IAM.create_access_key(UserName=user["UserName"])["AccessKey"]
        self.refused("AccessDeniedException", client("kms", again).encrypt, KeyId=key, Plaintext=b"x")
        text = KMS.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        self.assertIn(user["UserId"], text)
        self.assertNotIn(user["Arn"], text)


class Grants(Case):
    def test_grant(self):
        user, keys = self.user()
        kms = client("kms", keys)
        key = self.key()
        made = KMS.create_grant(
            KeyId=key, GranteePrincipal=user["Arn"], RetiringPrincipal=user["Arn"], Name="first",
            Operations=["Encrypt", "Decrypt", "DescribeKey"], Constraints={"EncryptionContextSubset": {"dept": "it"}},
        )
        again = KMS.create_grant(
            KeyId=key, GranteePrincipal=user["Arn"], RetiringPrincipal=user["Arn"], Name="first",
            Operations=["Encrypt", "Decrypt", "DescribeKey"], Constraints={"EncryptionContextSubset": {"dept": "it"}},
        )
        self.assertEqual(again["GrantId"], made["GrantId"])
        blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"dept": "it", "a": "b"}, GrantTokens=[made["GrantToken"]])["CiphertextBlob"]
        self.assertEqual(kms.decrypt(CiphertextBlob=blob, EncryptionContext={"dept": "it", "a": "b"})["Plaintext"], b"x")
        kms.describe_key(KeyId=key)
        self.refused("AccessDeniedException", kms.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext={"dept": "IT"})
        self.refused("AccessDeniedException", kms.encrypt, KeyId=key, Plaintext=b"x")
        self.refused("InvalidGrantTokenException", kms.encrypt, KeyId=key, Plaintext=b"x", GrantTokens=["junk"])
        listed = KMS.list_grants(KeyId=key)["Grants"]
        self.assertEqual([g["GrantId"] for g in listed], [made["GrantId"]])
        self.assertEqual(listed[0]["GranteePrincipal"], user["Arn"])
        self.assertEqual(listed[0]["Name"], "first")
        self.assertEqual(listed[0]["IssuingAccount"], f"arn:aws:iam::{ACCOUNT}:root")
        self.assertEqual([g["GrantId"] for g in KMS.list_retirable_grants(RetiringPrincipal=user["Arn"])["Grants"]], [made["GrantId"]])
        kms.retire_grant(GrantToken=made["GrantToken"])
        self.assertEqual(KMS.list_grants(KeyId=key)["Grants"], [])
        self.refused("AccessDeniedException", kms.decrypt, CiphertextBlob=blob, EncryptionContext={"dept": "it", "a": "b"})

    def test_refused(self):
        user, _ = self.user()
        key = self.key()
        self.refused("ValidationException", KMS.create_grant, KeyId=key, GranteePrincipal=user["Arn"], Operations=["Sign"])
        self.refused("InvalidArnException", KMS.create_grant, KeyId=key, GranteePrincipal="somebody", Operations=["Decrypt"])
        self.refused("InvalidArnException", KMS.create_grant, KeyId=key, GranteePrincipal=user["Arn"] + "-gone", Operations=["Decrypt"])
        self.refused("NotFoundException", KMS.revoke_grant, KeyId=key, GrantId="0" * 64)
        KMS.disable_key(KeyId=key)
        self.refused("DisabledException", KMS.create_grant, KeyId=key, GranteePrincipal=user["Arn"], Operations=["Decrypt"])

    def test_pages(self):
        user, _ = self.user()
        key = self.key()
        made = {KMS.create_grant(KeyId=key, GranteePrincipal=user["Arn"], Operations=["Decrypt"])["GrantId"] for _ in range(75)}
        got, marker = [], {}
        while True:
            page = KMS.list_grants(KeyId=key, Limit=20, **marker)
            got += [g["GrantId"] for g in page["Grants"]]
            if not page["Truncated"]:
                break
            marker = {"Marker": page["NextMarker"]}
        self.assertEqual(len(got), 75)
        self.assertEqual(set(got), made)


if __name__ == "__main__":
    unittest.main()
