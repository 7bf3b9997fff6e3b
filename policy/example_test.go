package policy_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/keyreeve/keyreeve/policy"
)

func Example() {
	p, err := policy.Parse(`{
		"Version": "2012-10-17",
		"Statement": [{
			"Sid": "Administration",
			"Effect": "Allow",
			"Principal": {"AWS": "arn:aws:iam::111122223333:root"},
			"Action": "kms:*",
			"Resource": "*"
		}, {
			"Sid": "FromTheOffice",
			"Effect": "Deny",
			"Principal": "*",
			"Action": ["kms:Encrypt", "kms:Decrypt"],
			"Resource": "*",
			"Condition": {"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
		}]
	}`, policy.Options{Type: policy.KeyPolicy})
	if err != nil {
		fmt.Println(err)
		return
	}

	r := policy.Request{
		Principal: &policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/Alice", ID: "AIDACKCEVSQ6C2EXAMPLE"},
		Action:    "kms:Decrypt",
		Resource:  "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Context:   policy.Values{"aws:sourceip": policy.Addr(netip.MustParseAddr("203.0.113.7"))},
	}
	v := p.Verdict(&r)
	fmt.Println("allowed by a statement:", v.Allow, "- denied by one:", v.Deny)

	r.Context = policy.Values{"aws:sourceip": policy.Addr(netip.MustParseAddr("192.0.2.10"))}
	v = p.Verdict(&r)
	fmt.Println("allowed by a statement:", v.Allow, "- denied by one:", v.Deny)
	// Output:
	// allowed by a statement: true - denied by one: true
	// allowed by a statement: true - denied by one: false
}

// Every statement says what became of it.
func ExamplePolicy_Evaluate() {
	p, err := policy.Parse(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "Read", "Effect": "Allow", "Action": ["kms:Describe*", "kms:List*"], "Resource": "*"},
		{"Sid": "Use", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:aws:kms:*:111122223333:key/*",
			"Condition": {"StringEquals": {"kms:EncryptionContext:Department": "${aws:PrincipalTag/department}"}}}]}`,
		policy.Options{Type: policy.Identity})
	if err != nil {
		fmt.Println(err)
		return
	}
	result := p.Evaluate(&policy.Request{
		Action:   "kms:Decrypt",
		Resource: "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Context: policy.Values{
			"aws:principaltag/department":      policy.String("IT"),
			"kms:encryptioncontext:department": policy.String("Sales"),
		},
	}, nil)
	fmt.Println("allowed:", result.Allow)
	for i, s := range p.Statements() {
		switch o := result.Statements[i]; {
		case o.Matched:
			fmt.Println(s.SID, "matches")
		case o.Mismatch == policy.OfCondition:
			fmt.Println(s.SID, "does not match: condition", s.Conditions[o.Condition])
		default:
			fmt.Println(s.SID, "does not match:", o.Mismatch)
		}
	}
	// Output:
	// allowed: false
	// Read does not match: Action
	// Use does not match: condition StringEquals kms:EncryptionContext:Department "${aws:PrincipalTag/department}"
}

// What AWS answers is the message; where and what exactly is for people.
func ExampleError() {
	_, err := policy.Parse(`{
  "Version": "2012-10-17",
  "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": {"StringMatches": {"aws:username": "a"}}}
}`, policy.Options{Type: policy.Identity})
	var e *policy.Error
	if errors.As(err, &e) {
		fmt.Println(e.Message)
		fmt.Println(e)
	}
	// Output:
	// Syntax errors in policy.
	// Syntax errors in policy: unknown condition operator StringMatches (line 3, column 86)
}

// A policy that is bound to unique ids survives changes of names, and does not
// mean a namesake.
func ExamplePolicy_Bind() {
	p, err := policy.Parse(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
		"Principal": {"AWS": "arn:aws:iam::111122223333:user/Alice"}, "Action": "kms:*", "Resource": "*"}}`, policy.Options{Type: policy.KeyPolicy})
	if err != nil {
		fmt.Println(err)
		return
	}
	bound := p.Bind(map[string]string{"arn:aws:iam::111122223333:user/Alice": "AIDACKCEVSQ6C2EXAMPLE"})
	namesake := policy.Request{
		Principal: &policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/Alice", ID: "AIDAJQABLZS4A3EXAMPLE"},
		Action:    "kms:Decrypt",
		Resource:  "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	}
	fmt.Println(p.Verdict(&namesake).Allow, bound.Verdict(&namesake).Allow)
	// Output: true false
}

// The names of principals are replaced in the text, and all else stays.
func ExamplePolicy_TextWith() {
	p, err := policy.Parse(`{"Statement": {"Effect": "Allow", "Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:user/Alice"]}, "Action": "kms:*", "Resource": "*"}}`,
		policy.Options{Type: policy.KeyPolicy})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.TextWith(func(name string) string {
		if name == "arn:aws:iam::111122223333:user/Alice" { // is no more
			return "AIDACKCEVSQ6C2EXAMPLE"
		}
		return name
	}))
	// Output: {"Statement": {"Effect": "Allow", "Principal": {"AWS": ["111122223333", "AIDACKCEVSQ6C2EXAMPLE"]}, "Action": "kms:*", "Resource": "*"}}
}

func ExamplePolicy_Principals() {
	p, err := policy.Parse(`{"Statement": {"Effect": "Allow", "Principal": {"AWS": "111122223333", "Service": "cloudtrail.amazonaws.com"}, "Action": "kms:*", "Resource": "*"}}`,
		policy.Options{Type: policy.KeyPolicy})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range p.Principals() {
		fmt.Println(n.Kind, n.Name)
	}
	// Output:
	// AWS 111122223333
	// Service cloudtrail.amazonaws.com
}

func ExampleParseKey() {
	k := policy.ParseKey("aws:PrincipalTag/Team")
	fmt.Println(k.Name, k.Sub)
	// Output: aws:principaltag/ Team
}

func ExampleWildcard() {
	fmt.Println(policy.Wildcard("alias/*-key", "alias/finance-key"), policy.Wildcard("alias/?-key", "alias/finance-key"))
	// Output: true false
}

func ExampleARNLike() {
	const trail = "arn:aws:cloudtrail:us-west-2:111122223333:trail/finance"
	fmt.Println(policy.ARNLike("arn:aws:cloudtrail:*:111122223333:trail/*", trail), policy.ARNLike("arn:aws:cloudtrail:*:trail/*", trail))
	// Output: true false
}

func ExampleSize() {
	fmt.Println(policy.Size(`{ "Statement": [ ] }`))
	// Output: 16
}
