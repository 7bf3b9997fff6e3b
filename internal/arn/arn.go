// Package arn names AWS resources.
//
// An ARN is arn:partition:service:region:account:resource. The resource may
// itself hold colons. Source: "Amazon Resource Names (ARNs)" in the AWS General
// Reference.
package arn

import (
	"errors"
	"strings"
)

// MaxLen is the largest length of an ARN that is parsed, in bytes.
const MaxLen = 2048

// ErrSyntax is returned for text that is not an ARN.
var ErrSyntax = errors.New("arn: not an ARN")

// ARN is a parsed ARN. Its fields share the memory of the parsed text.
type ARN struct {
	Partition string // such as "aws" or "aws-cn"
	Service   string // such as "kms"
	Region    string // empty for a global service
	Account   string // 12 digits, or empty
	Resource  string // such as "key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

// Is reports whether s claims to be an ARN: it begins with "arn:".
func Is(s string) bool { return strings.HasPrefix(s, "arn:") }

// Parse parses an ARN. It checks the form, not that the parts name anything:
// partition, service and resource are not empty, the account is empty or 12
// digits.
func Parse(s string) (ARN, error) {
	if len(s) > MaxLen || !Is(s) {
		return ARN{}, ErrSyntax
	}
	var a ARN
	rest := s[len("arn:"):]
	for _, part := range []*string{&a.Partition, &a.Service, &a.Region, &a.Account} {
		var ok bool
		if *part, rest, ok = strings.Cut(rest, ":"); !ok {
			return ARN{}, ErrSyntax
		}
	}
	a.Resource = rest
	if a.Partition == "" || a.Service == "" || a.Resource == "" || a.Account != "" && !IsAccount(a.Account) {
		return ARN{}, ErrSyntax
	}
	return a, nil
}

// String prints the ARN. Parse and String are inverse.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// IsAccount reports whether s is an account id: 12 digits.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Partition returns the partition that a Region belongs to, by the prefix of
// its name.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "us-iso-"):
		return "aws-iso"
	case strings.HasPrefix(region, "us-isob-"):
		return "aws-iso-b"
	case strings.HasPrefix(region, "eu-isoe-"):
		return "aws-iso-e"
	case strings.HasPrefix(region, "us-isof-"):
		return "aws-iso-f"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc"
	}
	return "aws"
}

// Key returns the ARN of a KMS key.
func Key(region, account, keyID string) string {
	return "arn:" + Partition(region) + ":kms:" + region + ":" + account + ":key/" + keyID
}

// Alias returns the ARN of a KMS alias; name begins with "alias/".
func Alias(region, account, name string) string {
	return "arn:" + Partition(region) + ":kms:" + region + ":" + account + ":" + name
}

// Root returns the ARN of an account's root user.
func Root(partition, account string) string {
	return "arn:" + partition + ":iam::" + account + ":root"
}

// User returns the ARN of an IAM user; path begins and ends with "/".
func User(partition, account, path, name string) string {
	return "arn:" + partition + ":iam::" + account + ":user" + path + name
}

// Role returns the ARN of an IAM role; path begins and ends with "/".
func Role(partition, account, path, name string) string {
	return "arn:" + partition + ":iam::" + account + ":role" + path + name
}
