"""boto3's IAM client against a running keyreeve: every operation once, as
boto3 reads the answers, and what a user without policies is told.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import json
import os
import unittest
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT


def client(service, **kwargs):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=os.environ["AWS_REGION"],
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **kwargs,
    )


IAM = client("iam")
ACCOUNT = client("sts").get_caller_identity()["Account"]
DECRYPT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}]}
ENCRYPT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}]}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}],
}


class Case(unittest.TestCase):
    def client(self, service, **kwargs):
        """Returns a client of others than the administrator."""
        other = client(service, **kwargs)
        self.addCleanup(getattr(other, "close", lambda: None))
        return other

    def refused(self, code, status, call, **kwargs):
        """Asserts that a call is refused, and returns its text."""
        with self.assertRaises(ClientError) as caught:
            call(**kwargs)
        answer = caught.exception.response
        self.assertEqual(answer["Error"]["Code"], code, answer)
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], status, answer)
        return answer["Error"]["Message"]


class Users(Case):
    def test_user(self):
        user = IAM.create_user(UserName="interop", Path="/interop/", Tags=[{"Key": "team", "Value": "a b"}])["User"]
        self.assertRegex(user["UserId"], "^AIDA")
        self.assertEqual(user["Arn"], f"arn:aws:iam::{ACCOUNT}:user/interop/interop")
        self.assertEqual(IAM.get_user(UserName="interop")["User"], user)
        self.assertEqual([u["UserName"] for u in IAM.list_users(PathPrefix="/interop/")["Users"]], ["interop"])
        text = self.refused("EntityAlreadyExists", 409, IAM.create_user, UserName="interop")
        self.assertEqual(text, "User with name interop already exists.")
        self.refused("NoSuchEntity", 404, IAM.get_user, UserName="nobody")

        IAM.tag_user(UserName="interop", Tags=[{"Key": "cost", "Value": "1"}])
        IAM.untag_user(UserName="interop", TagKeys=["team"])
        self.assertEqual(IAM.list_user_tags(UserName="interop")["Tags"], [{"Key": "cost", "Value": "1"}])

        IAM.put_user_policy(UserName="interop", PolicyName="p", PolicyDocument=json.dumps(DECRYPT, indent=1))
        self.assertEqual(IAM.get_user_policy(UserName="interop", PolicyName="p")["PolicyDocument"], DECRYPT)
        self.assertEqual(IAM.list_user_policies(UserName="interop")["PolicyNames"], ["p"])
        IAM.delete_user_policy(UserName="interop", PolicyName="p")
        text = self.refused(
            "MalformedPolicyDocument", 400, IAM.put_user_policy, UserName="interop", PolicyName="p", PolicyDocument=json.dumps(TRUST)
        )
        self.assertEqual(text, "Policy document should not specify a principal.")

        group = IAM.create_group(GroupName="interop", Path="/interop/")["Group"]
        self.assertRegex(group["GroupId"], "^AGPA")
        IAM.add_user_to_group(GroupName="interop", UserName="interop")
        answer = IAM.get_group(GroupName="interop")
        self.assertEqual((answer["Group"], [u["UserName"] for u in answer["Users"]]), (group, ["interop"]))
        self.assertEqual(IAM.list_groups_for_user(UserName="interop")["Groups"], [group])
        self.assertIn(group, IAM.list_groups()["Groups"])
        IAM.put_group_policy(GroupName="interop", PolicyName="p", PolicyDocument=json.dumps(DECRYPT))
        self.assertEqual(IAM.get_group_policy(GroupName="interop", PolicyName="p")["PolicyDocument"], DECRYPT)
        self.assertEqual(IAM.list_group_policies(GroupName="interop")["PolicyNames"], ["p"])
        IAM.delete_group_policy(GroupName="interop", PolicyName="p")
        self.refused("DeleteConflict", 409, IAM.delete_group, GroupName="interop")
        IAM.remove_user_from_group(GroupName="interop", UserName="interop")
        IAM.update_group(GroupName="interop", NewGroupName="renamed")
        IAM.delete_group(GroupName="renamed")

        IAM.update_user(UserName="interop", NewUserName="renamed")
        self.assertEqual(IAM.get_user(UserName="renamed")["User"]["UserId"], user["UserId"])
        IAM.delete_user(UserName="renamed")

    def test_access_keys(self):
        IAM.create_user(UserName="signer")
        self.addCleanup(IAM.delete_user, UserName="signer")
        key = IAM.create_access_key(UserName="signer")["AccessKey"]
        self.addCleanup(IAM.delete_access_key, UserName="signer", AccessKeyId=key["AccessKeyId"])
        self.assertEqual((key["UserName"], key["Status"], len(key["SecretAccessKey"])), ("signer", "Active", 40))
        signer = dict(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
        who = self.client("sts", **signer).get_caller_identity()
        self.assertEqual(who["Arn"], f"arn:aws:iam::{ACCOUNT}:user/signer")

        iam = self.client("iam", **signer)
        text = self.refused("AccessDenied", 403, iam.get_user)
        self.assertEqual(
            text,
            f"User: arn:aws:iam::{ACCOUNT}:user/signer is not authorized to perform: iam:GetUser on resource: user signer "
            "because no identity-based policy allows the iam:GetUser action",
        )
        IAM.attach_user_policy(UserName="signer", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
        self.assertEqual(iam.get_user()["User"]["UserName"], "signer")
        self.assertEqual([k["AccessKeyId"] for k in iam.list_access_keys()["AccessKeyMetadata"]], [key["AccessKeyId"]])
        self.refused("AccessDenied", 403, iam.create_access_key)
        IAM.detach_user_policy(UserName="signer", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
        self.refused("AccessDenied", 403, iam.get_user)

        second = IAM.create_access_key(UserName="signer")["AccessKey"]
        text = self.refused("LimitExceeded", 409, IAM.create_access_key, UserName="signer")
        self.assertEqual(text, "Cannot exceed quota for AccessKeysPerUser: 2")
        IAM.delete_access_key(UserName="signer", AccessKeyId=second["AccessKeyId"])
        IAM.update_access_key(UserName="signer", AccessKeyId=key["AccessKeyId"], Status="Inactive")
        self.refused("InvalidClientTokenId", 403, iam.get_user)


class Roles(Case):
    def test_role(self):
        role = IAM.create_role(RoleName="Interop", AssumeRolePolicyDocument=json.dumps(TRUST), Description="d")["Role"]
        self.assertRegex(role["RoleId"], "^AROA")
        self.assertEqual(role["AssumeRolePolicyDocument"], TRUST)
        got = IAM.get_role(RoleName="Interop")["Role"]
        self.assertEqual((got["Description"], got["MaxSessionDuration"], got["RoleLastUsed"]), ("d", 3600, {}))
        self.assertIn("Interop", [r["RoleName"] for r in IAM.list_roles()["Roles"]])
        IAM.update_role(RoleName="Interop", MaxSessionDuration=7200)
        self.assertEqual(IAM.update_role_description(RoleName="Interop", Description="e")["Role"]["Description"], "e")
        IAM.tag_role(RoleName="Interop", Tags=[{"Key": "a", "Value": "b"}])
        self.assertEqual(IAM.list_role_tags(RoleName="Interop")["Tags"], [{"Key": "a", "Value": "b"}])
        IAM.untag_role(RoleName="Interop", TagKeys=["a"])
        IAM.put_role_policy(RoleName="Interop", PolicyName="p", PolicyDocument=json.dumps(DECRYPT))
        self.assertEqual(IAM.get_role_policy(RoleName="Interop", PolicyName="p")["PolicyDocument"], DECRYPT)
        self.assertEqual(IAM.list_role_policies(RoleName="Interop")["PolicyNames"], ["p"])
        self.refused("DeleteConflict", 409, IAM.delete_role, RoleName="Interop")
        IAM.delete_role_policy(RoleName="Interop", PolicyName="p")

        trusting = json.loads(json.dumps(TRUST).replace(":root", ":user/nobody"))
        text = self.refused(
            "MalformedPolicyDocument", 400, IAM.update_assume_role_policy, RoleName="Interop", PolicyDocument=json.dumps(trusting)
        )
        self.assertEqual(text, f'Invalid principal in policy: "AWS":"arn:aws:iam::{ACCOUNT}:user/nobody"')
        IAM.update_assume_role_policy(RoleName="Interop", PolicyDocument=json.dumps(TRUST))

        session = self.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="interop")["Credentials"]
        iam = self.client(
            "iam",
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
        )
        text = self.refused("ValidationError", 400, iam.get_user)
        self.assertEqual(text, "Must specify userName when calling with non-User credentials")
        self.refused("AccessDenied", 403, iam.get_role, RoleName="Interop")
        self.assertEqual(IAM.list_instance_profiles_for_role(RoleName="Interop")["InstanceProfiles"], [])
        IAM.delete_role(RoleName="Interop")
        self.refused("InvalidClientTokenId", 403, iam.get_role, RoleName="Interop")


class Policies(Case):
    def test_policy(self):
        policy = IAM.create_policy(PolicyName="Interop", Path="/interop/", PolicyDocument=json.dumps(DECRYPT), Tags=[{"Key": "a", "Value": "b"}])
        arn = policy["Policy"]["Arn"]
        self.assertEqual(arn, f"arn:aws:iam::{ACCOUNT}:policy/interop/Interop")
        self.assertEqual(IAM.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"], 0)
        self.assertEqual(IAM.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"], DECRYPT)
        made = IAM.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(ENCRYPT), SetAsDefault=True)
        self.assertTrue(made["PolicyVersion"]["IsDefaultVersion"])
        self.assertEqual([v["VersionId"] for v in IAM.list_policy_versions(PolicyArn=arn)["Versions"]], ["v2", "v1"])
        IAM.set_default_policy_version(PolicyArn=arn, VersionId="v1")
        IAM.delete_policy_version(PolicyArn=arn, VersionId="v2")
        IAM.tag_policy(PolicyArn=arn, Tags=[{"Key": "c", "Value": "d"}])
        IAM.untag_policy(PolicyArn=arn, TagKeys=["a"])
        self.assertEqual(IAM.list_policy_tags(PolicyArn=arn)["Tags"], [{"Key": "c", "Value": "d"}])
        self.assertEqual([p["Arn"] for p in IAM.list_policies(Scope="Local", PathPrefix="/interop/")["Policies"]], [arn])

        IAM.create_user(UserName="bounded", PermissionsBoundary=arn)
        IAM.create_group(GroupName="attached")
        IAM.create_role(RoleName="attached", AssumeRolePolicyDocument=json.dumps(TRUST))
        self.assertEqual(
            IAM.get_user(UserName="bounded")["User"]["PermissionsBoundary"],
            {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn},
        )
        IAM.attach_user_policy(UserName="bounded", PolicyArn=arn)
        IAM.attach_group_policy(GroupName="attached", PolicyArn=arn)
        IAM.attach_role_policy(RoleName="attached", PolicyArn=arn)
        IAM.put_role_permissions_boundary(RoleName="attached", PermissionsBoundary=arn)
        for attached in (
            IAM.list_attached_user_policies(UserName="bounded"),
            IAM.list_attached_group_policies(GroupName="attached"),
            IAM.list_attached_role_policies(RoleName="attached"),
        ):
            self.assertEqual(attached["AttachedPolicies"], [{"PolicyName": "Interop", "PolicyArn": arn}])
        got = IAM.get_policy(PolicyArn=arn)["Policy"]
        self.assertEqual((got["AttachmentCount"], got["PermissionsBoundaryUsageCount"]), (3, 2))
        entities = IAM.list_entities_for_policy(PolicyArn=arn)
        self.assertEqual([len(entities[kind]) for kind in ("PolicyUsers", "PolicyGroups", "PolicyRoles")], [1, 1, 1])
        self.assertEqual(
            self.refused("DeleteConflict", 409, IAM.delete_policy, PolicyArn=arn), "Cannot delete a policy attached to entities."
        )
        IAM.detach_user_policy(UserName="bounded", PolicyArn=arn)
        IAM.detach_group_policy(GroupName="attached", PolicyArn=arn)
        IAM.detach_role_policy(RoleName="attached", PolicyArn=arn)
        IAM.delete_user_permissions_boundary(UserName="bounded")
        IAM.put_user_permissions_boundary(UserName="bounded", PermissionsBoundary=arn)
        IAM.delete_role_permissions_boundary(RoleName="attached")
        IAM.delete_user(UserName="bounded")
        IAM.delete_group(GroupName="attached")
        IAM.delete_role(RoleName="attached")
        IAM.delete_policy(PolicyArn=arn)
        self.refused("NoSuchEntity", 404, IAM.get_policy, PolicyArn=arn)

    def test_pages(self):
        for i in range(5):
            IAM.create_user(UserName=f"page{i}", Path="/pages/")
            self.addCleanup(IAM.delete_user, UserName=f"page{i}")
        pages = list(IAM.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2}))
        self.assertEqual([len(page["Users"]) for page in pages], [2, 2, 1])
        self.assertEqual([u["UserName"] for page in pages for u in page["Users"]], [f"page{i}" for i in range(5)])
        self.refused("ValidationError", 400, IAM.list_users, Marker="made-up")

    def test_summary(self):
        summary = IAM.get_account_summary()["SummaryMap"]
        self.assertGreaterEqual(summary["Users"], 1)
        self.assertEqual(summary["PolicySizeQuota"], 6144)


if __name__ == "__main__":
    unittest.main()
