package arn_test

import (
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/arn"
)

func TestParse(t *testing.T) {
	tests := map[string]arn.ARN{
		"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": {
			Partition: "aws", Service: "kms", Region: "us-west-2", Account: "111122223333",
			Resource: "key/1234abcd-12ab-34cd-56ef-1234567890ab",
		},
		"arn:aws:kms:us-west-2:111122223333:alias/a:b/c": {
			Partition: "aws", Service: "kms", Region: "us-west-2", Account: "111122223333", Resource: "alias/a:b/c",
		},
		"arn:aws-cn:iam::111122223333:root": {
			Partition: "aws-cn", Service: "iam", Account: "111122223333", Resource: "root",
		},
		"arn:aws:s3:::bucket": {Partition: "aws", Service: "s3", Resource: "bucket"},
	}
	for text, want := range tests {
		got, err := arn.Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("Parse(%q).String() = %q", text, got.String())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "arn", "arn:", "arn:aws", "arn:aws:kms", "arn:aws:kms:r", "arn:aws:kms:r:111122223333", "arn:aws:kms:r:111122223333:",
		"arn::kms:r:111122223333:key/x", "arn:aws::r:111122223333:key/x", "arn:aws:kms:r:11112222333:key/x",
		"arn:aws:kms:r:11112222333a:key/x", "ARN:aws:kms:r:111122223333:key/x", " arn:aws:kms:r:111122223333:key/x",
		"arn:aws:kms:r:111122223333:" + strings.Repeat("x", arn.MaxLen),
	} {
		if got, err := arn.Parse(text); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", text, got)
		}
	}
}

func TestMake(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{arn.Key("eu-central-1", "111122223333", "k"), "arn:aws:kms:eu-central-1:111122223333:key/k"},
		{arn.Key("cn-north-1", "111122223333", "k"), "arn:aws-cn:kms:cn-north-1:111122223333:key/k"},
		{arn.Alias("us-gov-west-1", "111122223333", "alias/a"), "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a"},
		{arn.Root("aws", "111122223333"), "arn:aws:iam::111122223333:root"},
		{arn.User("aws", "111122223333", "/a/", "u"), "arn:aws:iam::111122223333:user/a/u"},
	} {
		if tt.got != tt.want {
			t.Errorf("made %q, want %q", tt.got, tt.want)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	const text = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	if n := testing.AllocsPerRun(100, func() { _, _ = arn.Parse(text) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	f.Add("arn:aws:iam::111122223333:root")
	f.Add("arn:::::")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := arn.Parse(s)
		if err == nil && a.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, a.String())
		}
	})
}
