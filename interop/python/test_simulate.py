"""boto3's IAM client against a running keyreeve: the policy simulators, whose
answers are held against what real calls get, and reports.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import csv
import io
import json
import os
import unittest
from datetime import datetime, timezone
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT
REGION = os.environ["AWS_REGION"]


def client(service, **kwargs):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=REGION,
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **kwargs,
    )


IAM = client("iam")
KMS = client("kms")
ACCOUNT = client("sts").get_caller_identity()["Account"]


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def context(name, kind, *values):
    return {"ContextKeyName": name, "ContextKeyType": kind, "ContextKeyValues": list(values)}


class Simulators(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.user = IAM.create_user(UserName="simulated", Tags=[{"Key": "team", "Value": "red"}])["User"]
        IAM.create_group(GroupName="simulated")
        IAM.add_user_to_group(GroupName="simulated", UserName="simulated")
        IAM.put_group_policy(
            GroupName="simulated",
            PolicyName="Encrypts",
            PolicyDocument=document(allow("kms:Encrypt", Condition={"StringEquals": {"kms:EncryptionContext:app": "${aws:PrincipalTag/team}"}})),
        )
        IAM.put_user_policy(UserName="simulated", PolicyName="Decrypts", PolicyDocument=document(allow("kms:Decrypt"), deny("kms:*", Condition={"Bool": {"aws:SecureTransport": "false"}})))
        key = IAM.create_access_key(UserName="simulated")["AccessKey"]
        cls.access_key = key["AccessKeyId"]
        cls.kms = client("kms", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
        cls.key = KMS.create_key()["KeyMetadata"]["Arn"]

    @classmethod
    def tearDownClass(cls):
        cls.kms.close()

    def simulate(self, *actions, **kwargs):
        pages = IAM.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=self.user["Arn"], ActionNames=list(actions), **kwargs
        )
        return [r for page in pages for r in page["EvaluationResults"]]

    def test_agrees_with_calls(self):
        """What is simulated is what happens."""
        for app in ("red", "blue", None):
            given = [context("aws:SecureTransport", "boolean", "true")]
            encryption_context = {}
            if app:
                given.append(context("kms:EncryptionContext:app", "string", app))
                encryption_context = {"app": app}
            try:
                self.kms.encrypt(KeyId=self.key, Plaintext=b"x", EncryptionContext=encryption_context)
                want = "allowed"
            except ClientError as e:
                self.assertEqual(e.response["Error"]["Code"], "AccessDeniedException")
                want = "implicitDeny"
            (result,) = self.simulate("kms:Encrypt", ResourceArns=[self.key], ContextEntries=given)
            self.assertEqual(result["EvalDecision"], want, app)
            self.assertEqual(want, "allowed" if app == "red" else "implicitDeny")

    def test_results(self):
        decrypt, sign = self.simulate("kms:Decrypt", "kms:Sign")
        self.assertEqual(decrypt["EvalActionName"], "kms:Decrypt")
        self.assertEqual(decrypt["EvalResourceName"], "*")
        self.assertEqual(decrypt["EvalDecision"], "allowed")
        (statement,) = decrypt["MatchedStatements"]
        self.assertEqual(statement["SourcePolicyId"], "user_simulated_Decrypts")
        self.assertEqual(statement["SourcePolicyType"], "IAM Policy")
        # json.dumps puts a space after each comma and colon.
        self.assertEqual(statement["StartPosition"], {"Line": 1, "Column": 41})
        self.assertEqual(sorted(decrypt["MissingContextValues"]), ["aws:SecureTransport", "kms:EncryptionContext:app"])
        self.assertEqual((sign["EvalDecision"], sign["MatchedStatements"]), ("implicitDeny", []))

        (result,) = self.simulate(
            "kms:Decrypt",
            ResourceArns=[self.key, self.key + "0"],
            ContextEntries=[context("aws:SecureTransport", "boolean", "false")],
            PermissionsBoundaryPolicyInputList=[document(allow("kms:List*"))],
        )
        self.assertEqual(result["EvalDecision"], "explicitDeny")
        self.assertEqual(result["PermissionsBoundaryDecisionDetail"], {"AllowedByPermissionsBoundary": False})
        self.assertEqual([r["EvalResourceDecision"] for r in result["ResourceSpecificResults"]], ["explicitDeny"] * 2)
        self.assertEqual([r["EvalResourceName"] for r in result["ResourceSpecificResults"]], [self.key, self.key + "0"])

    def test_pages(self):
        page = IAM.simulate_principal_policy(PolicySourceArn=self.user["Arn"], ActionNames=["kms:Decrypt", "kms:Sign", "kms:Verify"], MaxItems=2)
        self.assertTrue(page["IsTruncated"])
        self.assertEqual(len(page["EvaluationResults"]), 2)
        results = self.simulate("kms:Decrypt", "kms:Sign", "kms:Verify", PaginationConfig={"PageSize": 1})
        self.assertEqual([r["EvalActionName"] for r in results], ["kms:Decrypt", "kms:Sign", "kms:Verify"])

    def test_resource_policy(self):
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/x"}, "Action": "kms:*", "Resource": "*"}]}
        asked = dict(PolicyInputList=[document(deny("kms:Sign"))], ActionNames=["kms:Decrypt", "kms:Sign"], ResourceArns=[self.key], ResourcePolicy=json.dumps(policy))
        results = IAM.simulate_custom_policy(CallerArn=f"arn:aws:iam::{ACCOUNT}:user/x", **asked)["EvaluationResults"]
        self.assertEqual([r["EvalDecision"] for r in results], ["allowed", "explicitDeny"])
        self.assertEqual([s["SourcePolicyId"] for s in results[1]["MatchedStatements"]], ["ResourcePolicy", "PolicyInputList.1"])
        self.assertEqual(results[0]["MatchedStatements"][0]["SourcePolicyType"], "Resource Policy")
        results = IAM.simulate_custom_policy(CallerArn=f"arn:aws:iam::{ACCOUNT}:user/y", **asked)["EvaluationResults"]
        self.assertEqual([r["EvalDecision"] for r in results], ["implicitDeny", "explicitDeny"])
        with self.assertRaises(IAM.exceptions.InvalidInputException):
            IAM.simulate_custom_policy(**asked)

    def test_context_keys(self):
        got = IAM.get_context_keys_for_principal_policy(PolicySourceArn=self.user["Arn"])["ContextKeyNames"]
        self.assertEqual(got, ["aws:SecureTransport", "kms:EncryptionContext:app", "aws:PrincipalTag/team"])
        got = IAM.get_context_keys_for_custom_policy(PolicyInputList=[document(allow("s3:*", "arn:aws:s3:::b/${aws:username}"))])
        self.assertEqual(got["ContextKeyNames"], ["aws:username"])

    def test_last_used(self):
        before = datetime.now(timezone.utc)
        try:
            self.kms.encrypt(KeyId=self.key, Plaintext=b"x")
        except ClientError:
            pass
        used = IAM.get_access_key_last_used(AccessKeyId=self.access_key)
        self.assertEqual(used["UserName"], "simulated")
        last = used["AccessKeyLastUsed"]
        self.assertEqual((last["ServiceName"], last["Region"]), ("kms", REGION))
        self.assertLess(abs((last["LastUsedDate"] - before).total_seconds()), 120)

    def test_report(self):
        self.assertIn(IAM.generate_credential_report()["State"], ("STARTED", "COMPLETE"))
        report = IAM.get_credential_report()
        self.assertEqual(report["ReportFormat"], "text/csv")
        rows = {row["user"]: row for row in csv.DictReader(io.StringIO(report["Content"].decode()))}
        self.assertEqual(rows["<root_account>"]["arn"], f"arn:aws:iam::{ACCOUNT}:root")
        row = rows["simulated"]
        self.assertEqual(len(row), 22)
        self.assertEqual(row["arn"], self.user["Arn"])
        self.assertEqual(datetime.fromisoformat(row["user_creation_time"]), self.user["CreateDate"])
        self.assertEqual((row["access_key_1_active"], row["access_key_2_active"], row["mfa_active"]), ("true", "false", "false"))

    def test_authorization_details(self):
        details = {}
        for page in IAM.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 1}):
            for kind in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"):
                details.setdefault(kind, []).extend(page.get(kind, []))
        user = next(u for u in details["UserDetailList"] if u["UserName"] == "simulated")
        self.assertEqual(user["GroupList"], ["simulated"])
        self.assertEqual(user["UserPolicyList"][0]["PolicyDocument"]["Statement"][0], allow("kms:Decrypt"))
        self.assertEqual(user["Tags"], [{"Key": "team", "Value": "red"}])
        self.assertEqual([g["GroupName"] for g in details["GroupDetailList"]], ["simulated"])
        self.assertIn("AdministratorAccess", [p["PolicyName"] for p in details["Policies"]])


if __name__ == "__main__":
    unittest.main()
