package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const generatedDir = "../../internal/api"

func TestGeneratedIsCurrent(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	have, err := filepath.Glob(filepath.Join(generatedDir, "*", "*_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range have {
		name, err := filepath.Rel(generatedDir, path)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := files[filepath.ToSlash(name)]; !ok {
			t.Errorf("%s is not generated any more", path)
		}
	}
	for name, want := range files {
		path := filepath.Join(generatedDir, name)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator makes: run make gen", path)
		}
	}
}

func TestGenerateIsDeterministic(t *testing.T) {
	first, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first, again) {
			t.Fatal("two runs differ")
		}
	}
}

func TestGoName(t *testing.T) {
	for name, want := range map[string]string{
		"KeyId": "KeyID", "AWSAccountId": "AWSAccountID", "DestinationKeyId": "DestinationKeyID", "Arn": "ARN", "AliasArn": "AliasARN",
		"Id": "ID", "KeyIds": "KeyIDs", "XksProxyUriEndpoint": "XksProxyURIEndpoint", "IdxName": "IdxName", "MacAlgorithm": "MacAlgorithm",
		"CloudTrailEventId": "CloudTrailEventID", "PolicyArns": "PolicyARNs", "arn": "ARN", "Identity": "Identity", "ArnIdUri": "ARNIDURI", "Mac": "Mac", "ValidTo": "ValidTo",
	} {
		if got := goName(name); got != want {
			t.Errorf("goName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestConstantName(t *testing.T) {
	for value, want := range map[string]string{
		"ENABLED_BY_DEFAULT": "EnabledByDefault", "text/csv": "TextCsv", "user-managed": "UserManaged", "Active": "Active",
		"LocalManagedPolicy": "LocalManagedPolicy", "DECLARATIVE_POLICY_EC2": "DeclarativePolicyEc2", "stringList": "StringList",
	} {
		if got := constantName(value); got != want {
			t.Errorf("constantName(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestNoDocumentationIsCopied(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	sentence := regexp.MustCompile(`//.*(Amazon Web Services|For more information|Developer Guide|KMS key)`)
	for name, text := range files {
		for line := range strings.Lines(string(text)) {
			if sentence.MatchString(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}
