// The AWS SDK for JavaScript against a running keyreeve: a role that the SDK
// assumes by itself, and a grant with its token. The environment is that of
// kms.test.mjs.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import * as iam from "@aws-sdk/client-iam";
import * as kms from "@aws-sdk/client-kms";
import * as sts from "@aws-sdk/client-sts";

const endpoint = process.env.AWS_ENDPOINT_URL;
assert.ok(new URL(endpoint).hostname === "127.0.0.1" || new URL(endpoint).hostname === "localhost", "the endpoint is on this machine");

const options = (credentials) => ({ endpoint, maxAttempts: 1, ...(credentials && { credentials }) });
const sender = (Client) => (credentials) => {
  const client = new Client(options(credentials));
  return (Command, input = {}) => client.send(new Command(input));
};
const IAM = sender(iam.IAMClient), KMS = sender(kms.KMSClient), STS = sender(sts.STSClient);
const bytes = (text) => new TextEncoder().encode(text);
const policy = (...Statement) => JSON.stringify({ Version: "2012-10-17", Statement });
const fails = (promise, name, message) =>
  assert.rejects(promise, (err) => {
    assert.equal(err.name, name);
    if (message) assert.equal(err.message, message);
    assert.ok(err.$metadata.requestId, "an error has a request id");
    return true;
  });

// user makes a user with an access key.
async function user() {
  const { User } = await IAM()(iam.CreateUserCommand, { UserName: `js-${randomUUID()}` });
  const { AccessKey } = await IAM()(iam.CreateAccessKeyCommand, { UserName: User.UserName });
  return { ...User, credentials: { accessKeyId: AccessKey.AccessKeyId, secretAccessKey: AccessKey.SecretAccessKey } };
}

test("a role is assumed, and uses a key", async () => {
  const someone = await user();
  const { Role } = await IAM()(iam.CreateRoleCommand, {
    RoleName: `js-${randomUUID()}`,
    AssumeRolePolicyDocument: policy({ Effect: "Allow", Principal: { AWS: someone.Arn }, Action: "sts:AssumeRole" }),
  });
  await IAM()(iam.PutRolePolicyCommand, {
    RoleName: Role.RoleName,
    PolicyName: "own",
    PolicyDocument: policy({ Effect: "Allow", Action: ["kms:Encrypt", "kms:Decrypt"], Resource: "*" }),
  });
  const { KeyMetadata: key } = await KMS()(kms.CreateKeyCommand);

  const { Credentials: c } = await STS(someone.credentials)(sts.AssumeRoleCommand, { RoleArn: Role.Arn, RoleSessionName: "js" });
  const session = { accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken };
  const who = await STS(session)(sts.GetCallerIdentityCommand);
  assert.equal(who.Arn, `arn:aws:sts::${key.AWSAccountId}:assumed-role/${Role.RoleName}/js`);
  assert.equal(who.UserId, `${Role.RoleId}:js`);
  const sealed = await KMS(session)(kms.EncryptCommand, { KeyId: key.Arn, Plaintext: bytes("hello") });
  const opened = await KMS(session)(kms.DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob });
  assert.equal(new TextDecoder().decode(opened.Plaintext), "hello");
  await fails(
    KMS(session)(kms.DescribeKeyCommand, { KeyId: key.Arn }),
    "AccessDeniedException",
    `User: ${who.Arn} is not authorized to perform: kms:DescribeKey on resource: ${key.Arn} because no identity-based policy allows the kms:DescribeKey action`,
  );
  await fails(KMS({ ...session, sessionToken: "junk" })(kms.ListKeysCommand), "UnrecognizedClientException");
  await fails(STS(someone.credentials)(sts.AssumeRoleCommand, { RoleArn: `${Role.Arn}-gone`, RoleSessionName: "js" }), "AccessDenied");

  // A client can assume it by itself, and again when the session ends.
  const provided = async () => {
    const { Credentials: c } = await STS(someone.credentials)(sts.AssumeRoleCommand, { RoleArn: Role.Arn, RoleSessionName: "provided" });
    return { accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken, expiration: c.Expiration };
  };
  assert.equal((await STS(provided)(sts.GetCallerIdentityCommand)).UserId, `${Role.RoleId}:provided`);
});

test("a grant lets a user decrypt, until it is retired", async () => {
  const someone = await user();
  const they = KMS(someone.credentials);
  const { KeyMetadata: key } = await KMS()(kms.CreateKeyCommand);
  const context = { tenant: "a" };
  const { CiphertextBlob } = await KMS()(kms.EncryptCommand, { KeyId: key.KeyId, Plaintext: bytes("x"), EncryptionContext: context });
  const decrypt = (more) => they(kms.DecryptCommand, { CiphertextBlob, EncryptionContext: context, ...more });
  await fails(decrypt(), "AccessDeniedException");
  const grant = await KMS()(kms.CreateGrantCommand, {
    KeyId: key.KeyId,
    GranteePrincipal: someone.Arn,
    RetiringPrincipal: someone.Arn,
    Operations: ["Decrypt"],
    Constraints: { EncryptionContextEquals: context },
  });
  await decrypt({ GrantTokens: [grant.GrantToken] });
  await decrypt();
  await fails(decrypt({ GrantTokens: ["junk"] }), "InvalidGrantTokenException");
  const { Grants } = await KMS()(kms.ListGrantsCommand, { KeyId: key.KeyId });
  assert.deepEqual(Grants.map((g) => [g.GrantId, g.GranteePrincipal, g.Operations]), [[grant.GrantId, someone.Arn, ["Decrypt"]]]);
  await they(kms.RetireGrantCommand, { GrantToken: grant.GrantToken });
  await fails(decrypt(), "AccessDeniedException");
});

test("errors of IAM and of key policies are typed", async () => {
  await assert.rejects(IAM()(iam.GetUserCommand, { UserName: "nobody-at-all" }), iam.NoSuchEntityException);
  const someone = await user();
  await assert.rejects(IAM()(iam.CreateUserCommand, { UserName: someone.UserName }), iam.EntityAlreadyExistsException);
  await assert.rejects(
    IAM()(iam.PutUserPolicyCommand, { UserName: someone.UserName, PolicyName: "own", PolicyDocument: "{" }),
    iam.MalformedPolicyDocumentException,
  );
  const { KeyMetadata: key } = await KMS()(kms.CreateKeyCommand);
  await assert.rejects(KMS()(kms.PutKeyPolicyCommand, { KeyId: key.KeyId, Policy: "{" }), kms.MalformedPolicyDocumentException);
  const { Policy } = await KMS()(kms.GetKeyPolicyCommand, { KeyId: key.KeyId });
  await KMS()(kms.PutKeyPolicyCommand, { KeyId: key.KeyId, Policy });
  assert.deepEqual((await KMS()(kms.ListKeyPoliciesCommand, { KeyId: key.KeyId })).PolicyNames, ["default"]);
});
