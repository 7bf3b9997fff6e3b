package identity_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/identity"
)

func TestCheckIssuer(t *testing.T) {
	for _, c := range []struct{ issuer, want string }{
		{"https://token.actions.githubusercontent.com", "token.actions.githubusercontent.com"},
		{"https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE", "oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"},
		{"https://sso.internal:8443/realms/main", "sso.internal:8443/realms/main"},
		{"https://127.0.0.1:9", "127.0.0.1:9"},
		{"https://[::1]/a", "[::1]/a"},
		{"https://example.com/", "example.com/"},
		{"example.com", ""},
		{"http://example.com", ""},
		{"https://", ""},
		{"https:///path", ""},
		{"https://user@example.com", ""},
		{"https://example.com?x=1", ""},
		{"https://example.com?", ""},
		{"https://example.com#x", ""},
		{"https://example.com/*", ""},
		{"https://*.example.com", ""},
		{"https://exa_mple.com", ""},
		{"https://example..com", ""},
		{"https://example.com:", ""},
		{"https://example.com:x", ""},
		{"https://example.com/a b", ""},
		{"https://ex\u00e4mple.com", ""},
		{"https://" + strings.Repeat("a", 248), ""},
	} {
		got, err := identity.CheckIssuer(c.issuer)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("CheckIssuer(%q) = %q, %v; want %q", c.issuer, got, err, c.want)
		}
	}
}

func TestOIDCProvider(t *testing.T) {
	ctx := context.Background()
	h := newHouse(t)
	d, account := h.Directory, ours
	made, err := d.CreateOIDCProvider(ctx, identity.OIDCProvider{
		Account: account, URL: "https://issuer.example/Team", ClientIDs: []string{"sts.amazonaws.com", "app", "app"},
		Thumbprints: []string{strings.Repeat("AB", 20)}, Tags: []identity.Tag{{Name: "k", Value: "v"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := identity.OIDCProvider{
		Account: account, URL: "issuer.example/Team", ARN: "arn:aws:iam::" + account + ":oidc-provider/issuer.example/Team",
		ClientIDs: []string{"sts.amazonaws.com", "app"}, Thumbprints: []string{strings.Repeat("ab", 20)},
		Created: made.Created, Tags: []identity.Tag{{Name: "k", Value: "v"}},
	}
	got, err := d.OIDCProvider(ctx, made.ARN)
	if err != nil || !reflect.DeepEqual(made, want) || !reflect.DeepEqual(got, want) || got.Issuer() != "https://issuer.example/Team" {
		t.Fatalf("made %+v\nread %+v, %v\nwant %+v", made, got, err, want)
	}
	for _, again := range []string{"https://issuer.example/Team", "issuer.example/Team", "https://ISSUER.example/Team"} {
		if _, err := d.CreateOIDCProvider(ctx, identity.OIDCProvider{Account: account, URL: again}); !errors.Is(err, identity.ErrExists) {
			t.Errorf("%s again: %v", again, err)
		}
	}
	// Another path, or a slash, is another issuer; so is another account's.
	for _, other := range []string{"https://issuer.example/team", "https://issuer.example/Team/", "https://issuer.example"} {
		if _, err := d.CreateOIDCProvider(ctx, identity.OIDCProvider{Account: account, URL: other}); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	for _, none := range []string{
		strings.Replace(made.ARN, account, "999988887777", 1), strings.Replace(made.ARN, "issuer", "Issuer", 1),
		made.ARN + "x", "arn:aws:iam::" + account + ":oidc-provider/", "arn:aws:iam::" + account + ":role/issuer.example/Team", "issuer.example/Team",
	} {
		if _, err := d.OIDCProvider(ctx, none); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: %v", none, err)
		}
	}
	list, err := d.OIDCProviders(ctx, account)
	if err != nil || len(list) != 4 || list[1].ARN != made.ARN {
		t.Errorf("listed %+v, %v", list, err)
	}

	for _, change := range []error{
		d.AddOIDCClient(ctx, made.ARN, "third"), d.AddOIDCClient(ctx, made.ARN, "third"),
		d.RemoveOIDCClient(ctx, made.ARN, "app"), d.RemoveOIDCClient(ctx, made.ARN, "app"),
		d.SetOIDCThumbprints(ctx, made.ARN, nil),
		d.TagOIDCProvider(ctx, made.ARN, []identity.Tag{{Name: "K", Value: "w"}, {Name: "x", Value: ""}}),
		d.UntagOIDCProvider(ctx, made.ARN, []string{"X", "none"}),
	} {
		if change != nil {
			t.Error(change)
		}
	}
	want.ClientIDs, want.Thumbprints, want.Tags = []string{"sts.amazonaws.com", "third"}, nil, []identity.Tag{{Name: "K", Value: "w"}}
	if got, err := d.OIDCProvider(ctx, made.ARN); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after the changes %+v, %v\nwant %+v", got, err, want)
	}
	six := make([]string, 6)
	for i := range six {
		six[i] = fmt.Sprintf("%040x", i)
	}
	for what, err := range map[string]error{
		"an empty client id":   d.AddOIDCClient(ctx, made.ARN, ""),
		"a long client id":     d.AddOIDCClient(ctx, made.ARN, strings.Repeat("x", 256)),
		"six thumbprints":      d.SetOIDCThumbprints(ctx, made.ARN, six),
		"a short thumbprint":   d.SetOIDCThumbprints(ctx, made.ARN, []string{"ab"}),
		"what is no hex":       d.SetOIDCThumbprints(ctx, made.ARN, []string{strings.Repeat("z", 40)}),
		"a reserved tag":       d.TagOIDCProvider(ctx, made.ARN, []identity.Tag{{Name: "aws:x"}}),
		"an account not there": create(d, "999988887777", "https://x.example"),
	} {
		if !errors.Is(err, identity.ErrInvalid) && !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range identity.MaxOIDCClients - 2 {
		if err := d.AddOIDCClient(ctx, made.ARN, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.AddOIDCClient(ctx, made.ARN, "one more"); !errors.Is(err, identity.ErrLimit) {
		t.Errorf("more client ids than there may be: %v", err)
	}
	for i := 4; i < identity.MaxOIDCProviders; i++ {
		if err := create(d, account, fmt.Sprintf("https://%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := create(d, account, "https://more.example"); !errors.Is(err, identity.ErrLimit) {
		t.Errorf("more providers than there may be: %v", err)
	}
	if err := d.DeleteOIDCProvider(ctx, made.ARN); err != nil {
		t.Error(err)
	}
	if err := d.DeleteOIDCProvider(ctx, made.ARN); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func create(d *identity.Directory, account, issuer string) error {
	_, err := d.CreateOIDCProvider(context.Background(), identity.OIDCProvider{Account: account, URL: issuer})
	return err
}
