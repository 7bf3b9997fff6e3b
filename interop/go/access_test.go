package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// statement is a statement of a policy document.
type statement map[string]any

// document is a policy document in JSON.
func document(t testing.TB, statements ...statement) *string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	return aws.String(string(text))
}

// allow is a statement of an identity-based policy, for every resource.
func allow(actions ...string) statement {
	return statement{"Effect": "Allow", "Action": actions, "Resource": "*"}
}

// permits is a statement of a key policy.
func permits(principal string, actions ...string) statement {
	return statement{"Effect": "Allow", "Principal": map[string]string{"AWS": principal}, "Action": actions, "Resource": "*"}
}

// trusts is a trust policy.
func trusts(t testing.TB, principal string, actions ...string) *string {
	t.Helper()
	return document(t, statement{"Effect": "Allow", "Principal": map[string]string{"AWS": principal}, "Action": actions})
}

// fresh returns a name that nothing has yet.
func fresh(prefix string) *string {
	return aws.String(fmt.Sprintf("%s-%d", prefix, time.Now().UnixNano()))
}

// account returns the id of the caller's account.
func account(t testing.TB) string {
	t.Helper()
	return *must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(settings(t)).GetCallerIdentity(t.Context(), nil)).Account
}

// user makes a user with an inline policy, if there are statements, and
// returns it and the configuration of a program with its access key.
func user(t testing.TB, statements ...statement) (*iamtypes.User, aws.Config) {
	t.Helper()
	c := iam.NewFromConfig(settings(t))
	made := must[*iam.CreateUserOutput](t)(c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: fresh("user")})).User
	if len(statements) > 0 {
		must[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
			UserName: made.UserName, PolicyName: aws.String("own"), PolicyDocument: document(t, statements...),
		}))
	}
	key := must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: made.UserName})).AccessKey
	cfg := settings(t)
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKeyId, *key.SecretAccessKey, "")
	return made, cfg
}

// role makes a role with an inline policy, if there are statements.
func role(t testing.TB, trust *string, statements ...statement) *iamtypes.Role {
	t.Helper()
	c := iam.NewFromConfig(settings(t))
	made := must[*iam.CreateRoleOutput](t)(c.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: fresh("role"), AssumeRolePolicyDocument: trust})).Role
	if len(statements) > 0 {
		must[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
			RoleName: made.RoleName, PolicyName: aws.String("own"), PolicyDocument: document(t, statements...),
		}))
	}
	return made
}

// sameJSON says whether two texts are the same in JSON.
func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var values [2]any
	for i, text := range []string{a, b} {
		if err := json.Unmarshal([]byte(text), &values[i]); err != nil {
			t.Errorf("%q: %v", text, err)
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// wantText fails the test unless err is an answer with a code and a text.
func wantText(t testing.TB, what string, err error, code, text string) {
	t.Helper()
	if answer := wantCode(t, what, err, code); answer != nil && answer.ErrorMessage() != text {
		t.Errorf("%s: message\n%q, want\n%q", what, answer.ErrorMessage(), text)
	}
}

func testKeyPolicies(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	root := "arn:aws:iam::" + account(t) + ":root"
	someone, theirs := user(t)
	policy := document(t, permits(root, "kms:*"), permits(*someone.Arn, "kms:DescribeKey"))
	key := must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{Policy: policy})).KeyMetadata
	names := must[*kms.ListKeyPoliciesOutput](t)(kms.NewListKeyPoliciesPaginator(c, &kms.ListKeyPoliciesInput{KeyId: key.KeyId}).NextPage(ctx))
	if !slices.Equal(names.PolicyNames, []string{"default"}) || names.Truncated {
		t.Errorf("ListKeyPolicies = %v, truncated %v", names.PolicyNames, names.Truncated)
	}
	same := func(want *string) {
		t.Helper()
		got := must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId}))
		if !sameJSON(t, *got.Policy, *want) || *got.PolicyName != "default" {
			t.Errorf("GetKeyPolicy = %s %s, want %s", *got.PolicyName, *got.Policy, *want)
		}
	}
	same(policy)

	they := clientOf(theirs)
	must[*kms.DescribeKeyOutput](t)(they.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId}))
	_, err := they.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})
	wantText(t, "what the key policy does not allow", err, "AccessDeniedException", "User: "+*someone.Arn+
		" is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" because no identity-based policy allows the kms:Encrypt action")

	policy = document(t, permits(root, "kms:*"), permits(*someone.Arn, "kms:Encrypt"))
	must[*kms.PutKeyPolicyOutput](t)(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: policy}))
	same(policy)
	must[*kms.EncryptOutput](t)(they.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	_, err = they.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.KeyId})
	wantCode(t, "what the key policy allows no more", err, "AccessDeniedException")

	denial := statement{"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}
	must[*kms.PutKeyPolicyOutput](t)(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{
		KeyId: key.KeyId, Policy: document(t, permits(root, "kms:*"), permits(*someone.Arn, "kms:Encrypt"), denial),
	}))
	_, err = they.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})
	wantText(t, "what the key policy denies", err, "AccessDeniedException", "User: "+*someone.Arn+
		" is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" with an explicit deny in a resource-based policy")
}

func testGrants(t *testing.T, c *kms.Client) {
	ctx := t.Context()
	someone, theirs := user(t)
	they := clientOf(theirs)
	key := createKey(t, c, "", "")
	encrypt := func(context map[string]string, tokens ...string) error {
		_, err := they.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), EncryptionContext: context, GrantTokens: tokens})
		return err
	}
	in := &kms.CreateGrantInput{
		KeyId: key.KeyId, GranteePrincipal: someone.Arn, RetiringPrincipal: someone.Arn, Name: aws.String("first"),
		Operations:  []types.GrantOperation{types.GrantOperationEncrypt, types.GrantOperationCreateGrant},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"dept": "it"}},
	}
	made := must[*kms.CreateGrantOutput](t)(c.CreateGrant(ctx, in))
	again := must[*kms.CreateGrantOutput](t)(c.CreateGrant(ctx, in))
	if *again.GrantId != *made.GrantId {
		t.Errorf("the same grant by the same name is %s, then %s", *made.GrantId, *again.GrantId)
	}

	// The server of this suite takes minutes until grants are known everywhere.
	it := map[string]string{"dept": "it", "a": "b"}
	wantCode(t, "a new grant without its token", encrypt(it), "AccessDeniedException")
	for _, token := range []string{*made.GrantToken, *again.GrantToken} {
		if err := encrypt(it, token); err != nil {
			t.Errorf("a new grant with its token: %v", err)
		}
	}
	wantCode(t, "another context", encrypt(map[string]string{"dept": "IT"}, *made.GrantToken), "AccessDeniedException")
	modelled[*types.InvalidGrantTokenException](t, "no token", encrypt(it, "junk"), "")
	modelled[*types.InvalidGrantTokenException](t, "half a token", encrypt(it, (*made.GrantToken)[:len(*made.GrantToken)/2]), "")
	_, err := they.Decrypt(ctx, &kms.DecryptInput{
		KeyId: key.KeyId, GrantTokens: []string{*made.GrantToken}, EncryptionContext: it, CiphertextBlob: []byte("x"),
	})
	wantCode(t, "an operation that was not granted", err, "AccessDeniedException")

	// A grant through the grant is no wider.
	child := kms.CreateGrantInput{
		KeyId: key.Arn, GranteePrincipal: someone.Arn, GrantTokens: []string{*made.GrantToken},
		Operations:  []types.GrantOperation{types.GrantOperationEncrypt},
		Constraints: &types.GrantConstraints{EncryptionContextEquals: map[string]string{"dept": "it", "team": "red"}},
	}
	second := must[*kms.CreateGrantOutput](t)(they.CreateGrant(ctx, &child))
	wider := child
	wider.Constraints = nil
	_, err = they.CreateGrant(ctx, &wider)
	wantCode(t, "a wider grant", err, "AccessDeniedException")
	wider = child
	wider.Operations = []types.GrantOperation{types.GrantOperationDecrypt}
	_, err = they.CreateGrant(ctx, &wider)
	wantCode(t, "a grant of what was not granted", err, "AccessDeniedException")

	var listed []string
	pages := kms.NewListGrantsPaginator(c, &kms.ListGrantsInput{KeyId: key.KeyId, Limit: aws.Int32(1)})
	for pages.HasMorePages() {
		page := must[*kms.ListGrantsOutput](t)(pages.NextPage(ctx))
		if len(page.Grants) > 1 {
			t.Errorf("a page of %d grants, want at most 1", len(page.Grants))
		}
		for _, g := range page.Grants {
			listed = append(listed, *g.GrantId)
			if *g.GranteePrincipal != *someone.Arn || *g.KeyId != *key.Arn || time.Since(*g.CreationDate).Abs() > time.Minute {
				t.Errorf("ListGrants = %+v", g)
			}
		}
	}
	slices.Sort(listed)
	want := []string{*made.GrantId, *second.GrantId}
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("ListGrants = %v, want %v", listed, want)
	}
	first := must[*kms.ListGrantsOutput](t)(c.ListGrants(ctx, &kms.ListGrantsInput{KeyId: key.KeyId, GrantId: made.GrantId})).Grants
	if len(first) != 1 || *first[0].Name != "first" || first[0].Constraints.EncryptionContextSubset["dept"] != "it" ||
		!containsAll(first[0].Operations, in.Operations) || len(first[0].Operations) != len(in.Operations) {
		t.Errorf("the grant is %+v", first)
	}
	retirable := must[*kms.ListRetirableGrantsOutput](t)(kms.NewListRetirableGrantsPaginator(c, &kms.ListRetirableGrantsInput{RetiringPrincipal: someone.Arn}).NextPage(ctx)).Grants
	if len(retirable) != 1 || *retirable[0].GrantId != *made.GrantId {
		t.Errorf("ListRetirableGrants = %+v", retirable)
	}

	must[*kms.RetireGrantOutput](t)(they.RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: made.GrantToken}))
	wantCode(t, "a retired grant", encrypt(it, *made.GrantToken), "AccessDeniedException")
	red := map[string]string{"dept": "it", "team": "red"}
	if err := encrypt(red, *second.GrantToken); err != nil {
		t.Errorf("a grant outlives the one that it was made through: %v", err)
	}
	must[*kms.RevokeGrantOutput](t)(c.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key.KeyId, GrantId: second.GrantId}))
	wantCode(t, "a revoked grant", encrypt(red, *second.GrantToken), "AccessDeniedException")
	_, err = c.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key.KeyId, GrantId: second.GrantId})
	modelled[*types.NotFoundException](t, "a grant that is gone", err, "")
}

// TestAccessErrors provokes the exceptions of key policies and grants.
func TestAccessErrors(t *testing.T) {
	c := client(t)
	ctx := t.Context()
	root := "arn:aws:iam::" + account(t) + ":root"
	key := createKey(t, c, "", "")
	before := must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId})).Policy
	if !strings.Contains(*before, root) {
		t.Errorf("the default key policy %s does not name %s", *before, root)
	}
	for what, tt := range map[string]struct {
		policy *string
		text   string
	}{
		"no JSON":             {aws.String(`{"Version":`), ""},
		"an unknown operator": {document(t, statement{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*", "Condition": map[string]any{"StringIs": map[string]string{"aws:userid": "x"}}}), ""},
		"nobody of that name": {document(t, permits(root, "kms:*"), permits(strings.Replace(root, ":root", ":user/nobody-at-all", 1), "kms:*")), "Policy contains a statement with one or more invalid principals."},
		"a policy that locks": {document(t, permits(root, "kms:Encrypt")), "The new key policy will not allow you to update the key policy in the future."},
	} {
		_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.KeyId, Policy: tt.policy})
		modelled[*types.MalformedPolicyDocumentException](t, what, err, tt.text)
		count := countKeys(t, c)
		_, err = c.CreateKey(ctx, &kms.CreateKeyInput{Policy: tt.policy})
		modelled[*types.MalformedPolicyDocumentException](t, "a new key with "+what, err, tt.text)
		if after := countKeys(t, c); after != count {
			t.Errorf("%s: refused, and %d keys made", what, after-count)
		}
	}
	if after := must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId})).Policy; *after != *before {
		t.Errorf("refused policies have changed the key policy to %s", *after)
	}
	_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{
		KeyId: key.KeyId, Policy: document(t, permits(root, "kms:*"), statement{"Sid": strings.Repeat("x", 33000), "Effect": "Deny", "Principal": "*", "Action": "kms:Sign", "Resource": "*"}),
	})
	modelled[*types.LimitExceededException](t, "a policy of more than 32 KiB", err, "")
	_, err = c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyId, PolicyName: aws.String("other")})
	modelled[*types.NotFoundException](t, "another policy", err, "No such policy exists")

	decrypt := []types.GrantOperation{types.GrantOperationDecrypt}
	_, err = c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: aws.String("somebody"), Operations: decrypt})
	modelled[*types.InvalidArnException](t, "a grantee that is no ARN", err, "")
	_, err = c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: &root, Operations: []types.GrantOperation{types.GrantOperationSign}})
	wantCode(t, "an operation that the key does not have", err, "ValidationException")
	_, err = c.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key.KeyId, GrantId: aws.String("no id")})
	modelled[*types.InvalidGrantIdException](t, "no grant id", err, "")
	_, err = c.RetireGrant(ctx, &kms.RetireGrantInput{GrantToken: aws.String("junk")})
	modelled[*types.InvalidGrantTokenException](t, "no grant token", err, "")
	_, err = c.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key.KeyId, GrantId: aws.String(strings.Repeat("0", 64))})
	modelled[*types.NotFoundException](t, "an unknown grant", err, "")
	must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId}))
	_, err = c.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: &root, Operations: decrypt})
	modelled[*types.DisabledException](t, "a disabled key", err, "")
}

// TestAssumeRole lets the SDK assume a role by itself and call KMS with it.
func TestAssumeRole(t *testing.T) {
	ctx := t.Context()
	someone, theirs := user(t)
	worker := role(t, trusts(t, *someone.Arn, "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"), allow("kms:Encrypt", "kms:Decrypt"))
	key := createKey(t, client(t), "", "")

	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(theirs), *worker.Arn, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "go"
		o.Duration = 15 * time.Minute
		o.Tags = []ststypes.Tag{{Key: aws.String("team"), Value: aws.String("red")}}
		o.SourceIdentity = aws.String("alice")
	})
	cfg := settings(t)
	cfg.Credentials = aws.NewCredentialsCache(provider)
	session := must[aws.Credentials](t)(cfg.Credentials.Retrieve(ctx))
	if left := time.Until(session.Expires); !session.CanExpire || left < 14*time.Minute || left > 16*time.Minute || !strings.HasPrefix(session.AccessKeyID, "ASIA") {
		t.Errorf("credentials %s end in %v, want an ASIA… that ends in 15 minutes", session.AccessKeyID, left)
	}
	who := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil))
	arn := fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/go", account(t), *worker.RoleName)
	if *who.Arn != arn || *who.UserId != *worker.RoleId+":go" {
		t.Errorf("GetCallerIdentity = %s %s, want %s %s:go", *who.Arn, *who.UserId, arn, *worker.RoleId)
	}

	c := clientOf(cfg)
	blob := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("hello")})).CiphertextBlob
	if got := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})).Plaintext; string(got) != "hello" {
		t.Errorf("Decrypt = %q", got)
	}
	_, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.Arn})
	wantText(t, "what the role may not", err, "AccessDeniedException", "User: "+arn+" is not authorized to perform: kms:DescribeKey on resource: "+
		*key.Arn+" because no identity-based policy allows the kms:DescribeKey action")

	// A session policy takes away.
	narrow := settings(t)
	narrow.Credentials = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(theirs), *worker.Arn, func(o *stscreds.AssumeRoleOptions) {
		o.Policy = document(t, allow("kms:Decrypt"))
	})
	_, err = clientOf(narrow).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	if err != nil {
		t.Errorf("what the session policy allows: %v", err)
	}
	_, err = clientOf(narrow).Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x")})
	wantCode(t, "what the session policy does not allow", err, "AccessDeniedException")

	// From one role to the next: the tag and the source identity go along.
	next := role(t, document(t, statement{
		"Effect": "Allow", "Principal": map[string]string{"AWS": *worker.Arn}, "Action": []string{"sts:AssumeRole", "sts:SetSourceIdentity"},
		"Condition": map[string]any{"StringEquals": map[string]string{"aws:PrincipalTag/team": "red", "aws:SourceIdentity": "alice"}},
	}))
	chained := settings(t)
	chained.Credentials = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), *next.Arn)
	_, err = sts.NewFromConfig(chained).GetCallerIdentity(ctx, nil)
	if err != nil {
		t.Errorf("from one role to the next: %v", err)
	}
	_, err = sts.NewFromConfig(theirs).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: next.Arn, RoleSessionName: aws.String("s1")})
	wantCode(t, "without the first role", err, "AccessDenied")

	// A session that was damaged.
	damaged := settings(t)
	damaged.Credentials = credentials.NewStaticCredentialsProvider(session.AccessKeyID, session.SecretAccessKey, session.SessionToken[:len(session.SessionToken)-8])
	_, err = clientOf(damaged).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})
	wantCode(t, "half a token", err, "UnrecognizedClientException")
	_, err = sts.NewFromConfig(damaged).GetCallerIdentity(ctx, nil)
	wantCode(t, "half a token", err, "InvalidClientTokenId")

	_, err = sts.NewFromConfig(theirs).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: worker.Arn, RoleSessionName: aws.String("s1"), Policy: aws.String(`{"Version":`)})
	var malformed *ststypes.MalformedPolicyDocumentException
	if !errors.As(err, &malformed) {
		t.Errorf("half a session policy: %v, want a MalformedPolicyDocumentException", err)
	}
}

// TestOtherSessions makes the sessions that are not of a role.
func TestOtherSessions(t *testing.T) {
	ctx := t.Context()
	someone, theirs := user(t, allow("kms:*", "sts:GetFederationToken"))
	key := createKey(t, client(t), "", "")
	with := func(c *ststypes.Credentials) aws.Config {
		cfg := settings(t)
		cfg.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
		return cfg
	}
	own := with(must[*sts.GetSessionTokenOutput](t)(sts.NewFromConfig(theirs).GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})).Credentials)
	if who := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(own).GetCallerIdentity(ctx, nil)); *who.Arn != *someone.Arn {
		t.Errorf("GetCallerIdentity = %s, want %s", *who.Arn, *someone.Arn)
	}
	must[*kms.DescribeKeyOutput](t)(clientOf(own).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.Arn}))

	federated := must[*sts.GetFederationTokenOutput](t)(sts.NewFromConfig(theirs).GetFederationToken(ctx, &sts.GetFederationTokenInput{
		Name: aws.String("visitor"), Policy: document(t, allow("kms:Encrypt")),
	}))
	if want := "arn:aws:sts::" + account(t) + ":federated-user/visitor"; *federated.FederatedUser.Arn != want {
		t.Errorf("GetFederationToken = %s, want %s", *federated.FederatedUser.Arn, want)
	}
	visitor := clientOf(with(federated.Credentials))
	must[*kms.EncryptOutput](t)(visitor.Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x")}))
	_, err := visitor.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.Arn})
	wantCode(t, "what the session policy does not allow", err, "AccessDeniedException")

	info := must[*sts.GetAccessKeyInfoOutput](t)(sts.NewFromConfig(settings(t)).GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{
		AccessKeyId: aws.String(environment(t, "AWS_ACCESS_KEY_ID")),
	}))
	if *info.Account != account(t) {
		t.Errorf("GetAccessKeyInfo = %s, want %s", *info.Account, account(t))
	}
}

// TestIAM reads IAM's lists page by page and provokes its exceptions.
func TestIAM(t *testing.T) {
	ctx := t.Context()
	c := iam.NewFromConfig(settings(t))
	const path = "/pages/"
	var users, groups, roles, policies, keys []string
	name := *fresh("many")
	for i := range 5 {
		one := aws.String(fmt.Sprintf("%s-%d", name, i))
		made := must[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: one, Path: aws.String(path)})).User
		users = append(users, *made.Arn)
		groups = append(groups, *must[*iam.CreateGroupOutput](t)(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: one, Path: aws.String(path)})).Group.Arn)
		roles = append(roles, *must[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{
			RoleName: one, Path: aws.String(path), AssumeRolePolicyDocument: trusts(t, account(t), "sts:AssumeRole"),
		})).Role.Arn)
		policies = append(policies, *must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{
			PolicyName: one, Path: aws.String(path), PolicyDocument: document(t, allow("kms:ListKeys")),
		})).Policy.Arn)
	}
	first := aws.String(name + "-0")
	for _, group := range []*string{first, aws.String(name + "-1"), aws.String(name + "-2")} {
		must[*iam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: first, GroupName: group}))
	}
	for _, policy := range policies {
		must[*iam.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: first, PolicyArn: &policy}))
	}
	inline := document(t, allow("kms:ListAliases"))
	for i := range 3 {
		must[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
			UserName: first, PolicyName: aws.String(fmt.Sprintf("inline-%d", i)), PolicyDocument: inline,
		}))
	}
	for range 2 {
		keys = append(keys, *must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: first})).AccessKey.AccessKeyId)
	}
	one := aws.Int32(1)
	two := aws.Int32(2)
	pages(t, "ListUsers", users, iam.NewListUsersPaginator(c, &iam.ListUsersInput{PathPrefix: aws.String(path), MaxItems: two}),
		func(out *iam.ListUsersOutput) (arns []string) {
			for _, u := range out.Users {
				arns = append(arns, *u.Arn)
			}
			return arns
		})
	pages(t, "ListGroups", groups, iam.NewListGroupsPaginator(c, &iam.ListGroupsInput{PathPrefix: aws.String(path), MaxItems: two}),
		func(out *iam.ListGroupsOutput) (arns []string) {
			for _, g := range out.Groups {
				arns = append(arns, *g.Arn)
			}
			return arns
		})
	pages(t, "ListRoles", roles, iam.NewListRolesPaginator(c, &iam.ListRolesInput{PathPrefix: aws.String(path), MaxItems: two}),
		func(out *iam.ListRolesOutput) (arns []string) {
			for _, r := range out.Roles {
				arns = append(arns, *r.Arn)
			}
			return arns
		})
	pages(t, "ListPolicies", policies, iam.NewListPoliciesPaginator(c, &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal, PathPrefix: aws.String(path), MaxItems: two}),
		func(out *iam.ListPoliciesOutput) (arns []string) {
			for _, p := range out.Policies {
				arns = append(arns, *p.Arn)
			}
			return arns
		})
	pages(t, "ListAttachedUserPolicies", policies, iam.NewListAttachedUserPoliciesPaginator(c, &iam.ListAttachedUserPoliciesInput{UserName: first, MaxItems: two}),
		func(out *iam.ListAttachedUserPoliciesOutput) (arns []string) {
			for _, p := range out.AttachedPolicies {
				arns = append(arns, *p.PolicyArn)
			}
			return arns
		})
	pages(t, "ListUserPolicies", []string{"inline-0", "inline-1", "inline-2"}, iam.NewListUserPoliciesPaginator(c, &iam.ListUserPoliciesInput{UserName: first, MaxItems: one}),
		func(out *iam.ListUserPoliciesOutput) []string { return out.PolicyNames })
	pages(t, "ListGroupsForUser", groups[:3], iam.NewListGroupsForUserPaginator(c, &iam.ListGroupsForUserInput{UserName: first, MaxItems: one}),
		func(out *iam.ListGroupsForUserOutput) (arns []string) {
			for _, g := range out.Groups {
				arns = append(arns, *g.Arn)
			}
			return arns
		})
	pages(t, "ListAccessKeys", keys, iam.NewListAccessKeysPaginator(c, &iam.ListAccessKeysInput{UserName: first, MaxItems: one}),
		func(out *iam.ListAccessKeysOutput) (ids []string) {
			for _, k := range out.AccessKeyMetadata {
				ids = append(ids, *k.AccessKeyId)
			}
			return ids
		})
	pages(t, "ListEntitiesForPolicy", []string{*first}, iam.NewListEntitiesForPolicyPaginator(c, &iam.ListEntitiesForPolicyInput{PolicyArn: &policies[0], MaxItems: one}),
		func(out *iam.ListEntitiesForPolicyOutput) (names []string) {
			for _, u := range out.PolicyUsers {
				names = append(names, *u.UserName)
			}
			return names
		})

	got := must[*iam.GetUserPolicyOutput](t)(c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: first, PolicyName: aws.String("inline-0")}))
	if text, err := url.PathUnescape(*got.PolicyDocument); err != nil || text != *inline {
		t.Errorf("GetUserPolicy = %q (%v), want %q in percent-encoding", *got.PolicyDocument, err, *inline)
	}

	gone := aws.String("nobody-at-all")
	_, err := c.GetUser(ctx, &iam.GetUserInput{UserName: gone})
	modelled[*iamtypes.NoSuchEntityException](t, "an unknown user", err, "The user with name nobody-at-all cannot be found.")
	_, err = c.GetRole(ctx, &iam.GetRoleInput{RoleName: gone})
	modelled[*iamtypes.NoSuchEntityException](t, "an unknown role", err, "The role with name nobody-at-all cannot be found.")
	_, err = c.CreateUser(ctx, &iam.CreateUserInput{UserName: first})
	modelled[*iamtypes.EntityAlreadyExistsException](t, "a user twice", err, "User with name "+*first+" already exists.")
	_, err = c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: fresh("bad"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow"}}`)})
	modelled[*iamtypes.MalformedPolicyDocumentException](t, "half a statement", err, "")
	_, err = c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: first, PolicyDocument: inline})
	modelled[*iamtypes.MalformedPolicyDocumentException](t, "an identity-based policy for a trust policy", err, "")
	_, err = c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: first})
	modelled[*iamtypes.LimitExceededException](t, "a third access key", err, "")
	_, err = c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: first})
	modelled[*iamtypes.DeleteConflictException](t, "a user with access keys", err, "")
	_, err = c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &policies[0]})
	modelled[*iamtypes.DeleteConflictException](t, "a policy in use", err, "")

	_, theirs := user(t, allow("iam:ListUsers"))
	_, err = iam.NewFromConfig(theirs).CreateUser(ctx, &iam.CreateUserInput{UserName: gone})
	wantCode(t, "what a user may not", err, "AccessDenied")
	must[*iam.ListUsersOutput](t)(iam.NewFromConfig(theirs).ListUsers(ctx, nil))
}

// pages reads a list to its end, page by page, and compares it.
func pages[O, F any](t *testing.T, what string, want []string, list interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*F)) (*O, error)
}, of func(*O) []string,
) {
	t.Helper()
	var got []string
	count := 0
	for ; list.HasMorePages(); count++ {
		got = append(got, of(must[*O](t)(list.NextPage(t.Context())))...)
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
	if len(want) > 1 && count < 2 {
		t.Errorf("%s: %d in one page", what, len(got))
	}
}
