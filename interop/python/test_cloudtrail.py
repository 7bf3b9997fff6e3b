"""boto3 against a running keyreeve: what was called is found right after it.

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import datetime
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


def client(service, credentials=None, region=os.environ["AWS_REGION"]):
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
        region_name=region,
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries={"max_attempts": 0}),
        **keys,
    )


CLOUDTRAIL, IAM, KMS, STS = client("cloudtrail"), client("iam"), client("kms"), client("sts")


def find(key, value, **more):
    pages = CLOUDTRAIL.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": key, "AttributeValue": value}], **more
    )
    return [event for page in pages for event in page["Events"]]


class LookupEvents(unittest.TestCase):
    def test_role_session(self):
        """A call of a role's session is found by the session's name and key."""
        name = "role-" + uuid.uuid4().hex[:8]
        account = STS.get_caller_identity()["Account"]
        trust = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"},
        }
        allow = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}
        role = IAM.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        IAM.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(allow))
        session = STS.assume_role(RoleArn=role["Arn"], RoleSessionName="night-job")["Credentials"]
        answer = client("kms", session).list_keys(Limit=7)

        for key, value in (("AccessKeyId", session["AccessKeyId"]), ("Username", "night-job")):
            (event,) = [e for e in find(key, value) if e["EventName"] == "ListKeys"]
            self.assertEqual(event["Username"], "night-job")
            self.assertEqual(event["AccessKeyId"], session["AccessKeyId"])
            self.assertEqual(event["EventSource"], "kms.amazonaws.com")
            self.assertEqual(event["ReadOnly"], "true")
            self.assertEqual(event["Resources"], [])
            self.assertLess(datetime.datetime.now(datetime.timezone.utc) - event["EventTime"], datetime.timedelta(minutes=5))
            record = json.loads(event["CloudTrailEvent"])
            self.assertEqual(record["requestID"], answer["ResponseMetadata"]["RequestId"])
            self.assertEqual(record["eventID"], event["EventId"])
            self.assertEqual(record["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"], role["Arn"])
            self.assertEqual(record["requestParameters"], {"limit": 7})

    def test_resources(self):
        """A key's events, and no other's; page by page as at once."""
        key = KMS.create_key()["KeyMetadata"]["Arn"]
        other = KMS.create_key()["KeyMetadata"]["Arn"]
        for _ in range(6):
            KMS.describe_key(KeyId=key)
            KMS.describe_key(KeyId=other)
        at_once = find("ResourceName", key)
        self.assertEqual([e["EventName"] for e in at_once], ["DescribeKey"] * 6 + ["CreateKey"])
        for event in at_once:
            self.assertEqual(event["Resources"], [{"ResourceType": "AWS::KMS::Key", "ResourceName": key}])
        paged = find("ResourceName", key, PaginationConfig={"PageSize": 2})
        self.assertEqual([e["EventId"] for e in paged], [e["EventId"] for e in at_once])
        self.assertEqual(len(find("ResourceName", key, PaginationConfig={"MaxItems": 3})), 3)
        elsewhere = client("cloudtrail", region="eu-west-1").lookup_events(
            LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": key}]
        )
        self.assertEqual(elsewhere["Events"], [])

    def test_tokens(self):
        """A token is good for the search that it is of."""
        for _ in range(2):
            KMS.list_keys()
        by_name = [{"AttributeKey": "EventName", "AttributeValue": "ListKeys"}]
        token = CLOUDTRAIL.lookup_events(LookupAttributes=by_name, MaxResults=1)["NextToken"]
        page = CLOUDTRAIL.lookup_events(LookupAttributes=by_name, MaxResults=1, NextToken=token)
        self.assertEqual(len(page["Events"]), 1)
        with self.assertRaises(CLOUDTRAIL.exceptions.InvalidNextTokenException):
            CLOUDTRAIL.lookup_events(MaxResults=1, NextToken=token)

    def test_failures(self):
        """Calls that fail are events, too."""
        alias = "alias/" + uuid.uuid4().hex
        with self.assertRaises(KMS.exceptions.NotFoundException):
            KMS.describe_key(KeyId=alias)
        records = [json.loads(e["CloudTrailEvent"]) for e in find("EventName", "DescribeKey")]
        (record,) = [r for r in records if (r["requestParameters"] or {}).get("keyId") == alias]
        self.assertEqual(record["errorCode"], "NotFoundException")
        self.assertIsNone(record["responseElements"])


class Trails(unittest.TestCase):
    def test_errors(self):
        """Each error is the exception that boto3 has for it."""
        errors, name = CLOUDTRAIL.exceptions, "t-" + uuid.uuid4().hex[:8]
        with self.assertRaises(errors.S3BucketDoesNotExistException):
            CLOUDTRAIL.create_trail(Name=name, S3BucketName="no-such-bucket")
        with self.assertRaises(errors.InvalidTrailNameException):
            CLOUDTRAIL.create_trail(Name="a", S3BucketName="no-such-bucket")
        with self.assertRaises(errors.TrailNotFoundException):
            CLOUDTRAIL.get_trail(Name=name)
        with self.assertRaises(errors.CloudTrailARNInvalidException):
            CLOUDTRAIL.get_trail(Name="arn:aws:s3:::bucket")
        with self.assertRaises(errors.InvalidEventSelectorsException):
            CLOUDTRAIL.put_event_selectors(TrailName=name, EventSelectors=[])
        with self.assertRaises(ClientError) as caught:
            CLOUDTRAIL.lookup_events(LookupAttributes=[{"AttributeKey": "Color", "AttributeValue": "red"}])
        self.assertEqual(caught.exception.response["Error"]["Code"], "ValidationException")
        self.assertEqual(CLOUDTRAIL.describe_trails()["trailList"], [])
        self.assertEqual(CLOUDTRAIL.list_trails()["Trails"], [])
        self.assertEqual(CLOUDTRAIL.list_public_keys()["PublicKeyList"], [])


if __name__ == "__main__":
    unittest.main()
