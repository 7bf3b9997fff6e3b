package kms_test

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyreeve/keyreeve/internal/store"
)

// TestResourceQuotas: what is as large as can be is taken, and one more is not.
// The quotas on aliases and tags of a key are in TestLimits, and that on keys is
// in packages keyring and node. Source: "Resource quotas" in the AWS KMS
// Developer Guide, and the AWS KMS API Reference.
func TestResourceQuotas(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	agreement := e.createKey("ECC_NIST_P256", "KEY_AGREEMENT")
	long := func(member string, most int) string {
		return fmt.Sprintf("at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", member, most)
	}
	large := func(member string, most int) string {
		return fmt.Sprintf("at '%s' failed to satisfy constraint: Member must have value less than or equal to %d", member, most)
	}
	text := func(n int) string { return strings.Repeat("x", n) }
	policyOf := func(n int) string {
		empty := statement(`{"Sid": "", "Effect": "Deny", "Principal": "*", "Action": "kms:Nothing", "Resource": "*"}`)
		return strings.Replace(empty, `"Sid": ""`, `"Sid": "`+text(n-len(empty))+`"`, 1)
	}
	grant := func(pairs, size int) object {
		all := object{}
		for i := range pairs {
			all[fmt.Sprint(i)] = text(size)
		}
		return object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Decrypt"}, "Constraints": object{"EncryptionContextEquals": all}}
	}
	tokens := func(n int) object {
		token := grantOn(e, id).str("GrantToken")
		list := make([]string, n)
		for i := range list {
			list[i] = token
		}
		return object{"KeyId": id, "Plaintext": blob(1), "GrantTokens": list}
	}
	for _, test := range []struct {
		name, operation string
		request         func(n int) object
		most            int
		within, over    string // in how the call fails with the most, and with one more
	}{
		{"description", "CreateKey", func(n int) object { return object{"Description": text(n)} }, 8192, "", long("description", 8192)},
		{"description", "UpdateKeyDescription", func(n int) object { return object{"KeyId": id, "Description": text(n)} }, 8192, "", long("description", 8192)},
		{"policy", "CreateKey", func(n int) object { return object{"Policy": policyOf(n)} }, 32768, "", "LimitExceededException: The key policy is larger than 32768 bytes."},
		{"policy", "PutKeyPolicy", func(n int) object { return object{"KeyId": id, "Policy": policyOf(n)} }, 32768, "", "LimitExceededException: The key policy is larger than 32768 bytes."},
		{"tag key", "TagResource", func(n int) object { return object{"KeyId": id, "Tags": []object{{"TagKey": text(n), "TagValue": ""}}} }, 128, "", long("tags.1.member.tagKey", 128)},
		{"tag value", "TagResource", func(n int) object { return object{"KeyId": id, "Tags": []object{{"TagKey": "k", "TagValue": text(n)}}} }, 256, "", long("tags.1.member.tagValue", 256)},
		{"alias", "CreateAlias", func(n int) object { return object{"TargetKeyId": id, "AliasName": "alias/" + text(n-6)} }, 256, "", long("aliasName", 256)},
		{"grant tokens", "Encrypt", tokens, 10, "", long("grantTokens", 10)},
		{"pairs of a constraint", "CreateGrant", func(n int) object { return grant(n, 1) }, 8, "", "ValidationException: An encryption context constraint can have at most 8 pairs."},
		{"value of a constraint", "CreateGrant", func(n int) object { return grant(1, n) }, 384, "", "ValidationException: A value of an encryption context constraint can have at most 384 characters."},
		{"days of waiting", "ScheduleKeyDeletion", func(n int) object {
			return object{"KeyId": e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), "PendingWindowInDays": n}
		}, 30, "", "ValidationException: PendingWindowInDays should be between 7 and 30, but it is 31"},
		{"plaintext", "Encrypt", func(n int) object { return object{"KeyId": id, "Plaintext": blob(n)} }, 4096, "", long("plaintext", 4096)},
		{"ciphertext", "Decrypt", func(n int) object { return object{"CiphertextBlob": blob(n)} }, 6144, "InvalidCiphertextException", long("ciphertextBlob", 6144)},
		{"public key", "DeriveSharedSecret", func(n int) object {
			return object{"KeyId": agreement, "PublicKey": blob(n), "KeyAgreementAlgorithm": "ECDH"}
		}, 8192, "ValidationException", long("publicKey", 8192)},
		{"keys of a page", "ListKeys", func(n int) object { return object{"Limit": n} }, 1000, "", large("limit", 1000)},
		{"aliases of a page", "ListAliases", func(n int) object { return object{"Limit": n} }, 100, "", "ValidationException"},
		{"grants of a page", "ListGrants", func(n int) object { return object{"KeyId": id, "Limit": n} }, 100, "", "ValidationException"},
		{"retirable grants of a page", "ListRetirableGrants", func(n int) object { return object{"RetiringPrincipal": alice.ARN, "Limit": n} }, 100, "", "ValidationException"},
		{"tags of a page", "ListResourceTags", func(n int) object { return object{"KeyId": id, "Limit": n} }, 50, "", "ValidationException"},
		{"random bytes", "GenerateRandom", func(n int) object { return object{"NumberOfBytes": n} }, 1024, "", large("numberOfBytes", 1024)},
	} {
		for _, n := range []int{test.most, test.most + 1} {
			want := test.within
			if n > test.most {
				want = test.over
			}
			a := e.call(alice, test.operation, encode(t, test.request(n)))
			if got := a.text(); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%s of %d: %s:\n got %.300s\nwant %.300s", test.name, n, test.operation, or(got, "success"), or(want, "success"))
			}
		}
	}
}

// TestGrantQuota: a key has 50,000 grants at most, and whose they are makes no
// difference.
func TestGrantQuota(t *testing.T) {
	t.Parallel()
	const most = 50_000
	st := &manyGrants{Store: store.NewMem(), n: most - 1}
	e := newEnvOn(t, st)
	id := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	other := e.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
	prefix := "v1/grant/" + ours + "/" + testRegion + "/" + id + "/"
	st.prefix.Store(&prefix)
	last := grantOn(e, id)
	request := object{"KeyId": id, "GranteePrincipal": dave.ARN, "Operations": []string{"Encrypt"}}
	e.fails(alice, "CreateGrant", request, "LimitExceededException: The limit of 50000 grants has been reached for the key "+keyARN(id)+".")
	e.must(alice, "CreateGrant", request.with(object{"KeyId": other}))
	e.must(alice, "RevokeGrant", object{"KeyId": id, "GrantId": last.str("GrantId")})
	e.must(alice, "CreateGrant", request)
}

// manyGrants is a store with n grants below a prefix, which nobody reads.
type manyGrants struct {
	store.Store
	prefix atomic.Pointer[string]
	n      int
}

func (s *manyGrants) Range(ctx context.Context, from, to string, limit int) ([]store.KV, store.Rev, error) {
	prefix := s.prefix.Load()
	if prefix == nil || !strings.HasPrefix(from, *prefix) {
		return s.Store.Range(ctx, from, to, limit)
	}
	head, err := s.Head(ctx)
	var kvs []store.KV
	for i := sort.Search(s.n, func(i int) bool { return s.key(*prefix, i) >= from }); i < s.n && len(kvs) < limit; i++ {
		kvs = append(kvs, store.KV{Key: s.key(*prefix, i), Val: []byte{1}, Rev: 1})
	}
	return kvs, head, err
}

func (s *manyGrants) key(prefix string, i int) string { return fmt.Sprintf("%s%064x", prefix, i) }
