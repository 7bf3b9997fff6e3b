package config_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/config"
)

func TestEmptyFileIsValid(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}\n"} {
		c, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatalf("Parse(%q): %v", text, err)
		}
		c.SetDefaults()
		if err := c.Check(); err != nil {
			t.Errorf("defaults: %v", err)
		}
	}
}

func TestParse(t *testing.T) {
	c, err := config.Parse([]byte("data: /var/lib/keyreeve/\nmemory:\n  size: 64MiB\n  idle: 90s\nregions: [eu-central-1]\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDefaults()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if c.Memory.Size != 64<<20 || c.Memory.Idle != 90*time.Second {
		t.Errorf("memory = %+v", c.Memory)
	}
	if c.Seal.File != "/var/lib/keyreeve.root.key" {
		t.Errorf("seal.file = %q: it must stand beside the data directory", c.Seal.File)
	}
	if got := strings.Join(c.Regions, " "); got != "eu-central-1 us-east-1" {
		t.Errorf("regions = %s", got)
	}
}

// The key file is never inside the data directory, however that is named.
func TestKeyFileStandsBeside(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{
		"data":       "data.root.key",
		"./data//":   "data.root.key",
		"/a/b/":      "/a/b.root.key",
		".":          wd + ".root.key",
		"./":         wd + ".root.key",
		"..":         filepath.Dir(wd) + ".root.key",
		"sub/../../": filepath.Dir(wd) + ".root.key",
	} {
		c := &config.Config{Data: data}
		c.SetDefaults()
		if c.Seal.File != want {
			t.Errorf("data %q: key file %q, want %q", data, c.Seal.File, want)
		}
		if mark := strings.TrimSuffix(want, ".root.key") + ".mark"; c.Seal.Mark != mark {
			t.Errorf("data %q: mark %q, want %q", data, c.Seal.Mark, mark)
		}
		if keys := strings.TrimSuffix(want, ".root.key") + ".tls"; c.TLS.Keys != keys {
			t.Errorf("data %q: keys of certificates in %q, want %q", data, c.TLS.Keys, keys)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"lisen: x":                   "lisen",
		"listen: nowhere":            "not host:port",
		"listen: 127.0.0.1:70000":    "not a port",
		"plain: 0.0.0.0:80":          "loopback",
		"account: 12345":             "12 digits",
		"regions: [Frankfurt]":       "name of a Region",
		"tls: {certificate: a.pem}":  "together",
		"seal: {provider: hsm}":      "none of file, passphrase",
		"seal: {passphrase_file: p}": "only for the provider",
		"memory: {size: 12 parsecs}": "not a size",
		"memory: {lock: maybe}":      "none of required, try",
		"memory: {idle: 1ms}":        "at least 1s",
		"grants: {delay: 6m}":        "0 to 5m",
		"log: {level: loud}":         "none of debug",
		"quotas: {keys: -1}":         "from 1 to 10000000",
		"quotas: {rates: {rsa: 0}}":  "rsa: must be from 0.001",
		"quotas: {rates: {Sign: 1}}": "not the name of a quota",
		"quotas: {rates: {rsa: x}}":  "cannot unmarshal",
		"certificates: {trust_anchors: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:trust-anchor/a', ca: f}]}":                             "together",
		"certificates: {trust_anchors: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:anchor/a', ca: f}]}":                                   "trust-anchor/NAME",
		"certificates: {trust_anchors: [{arn: 'arn:aws:rolesanywhere:mars-east-1:111122223333:trust-anchor/a', ca: f}]}":                           "none of the regions",
		"certificates: {trust_anchors: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:trust-anchor/a'}]}":                                    "needs a file",
		"certificates: {profiles: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:profile/a'}]}":                                              "needs 1 to 250 roles",
		"certificates: {profiles: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:profile/a', roles: [x]}]}":                                  "not the ARN of a role",
		"certificates: {profiles: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:profile/a', duration: 1m}]}":                                "15m to 12h",
		"certificates: {profiles: [{arn: 'arn:aws:rolesanywhere:us-east-1:1:profile/a', roles: ['arn:aws:iam::1:role/a']}]}":                       "profile/NAME",
		"certificates: {profiles: [{arn: 'arn:aws:rolesanywhere:us-east-1:111122223333:profile/a', roles: ['arn:aws:iam::444455556666:role/a']}]}": "not of the profile's account",
		"attestation: {roots: ['']}":       "an empty name",
		"attestation: {roots: [a, a]}":     "a is there twice",
		"attestation: {roots: a}":          "cannot unmarshal",
		"data: a\n---\ndata: b":            "more than one document",
		"data: [a]":                        "cannot unmarshal",
		strings.Repeat("#", 1<<20) + "\n#": "larger than 1 MiB",
	} {
		c, err := config.Parse([]byte(text))
		if err == nil {
			c.SetDefaults()
			err = c.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want one with %q", text, err, want)
		}
	}
}

// The manual is rendered from the comments; it may not lag behind them.
func TestManualIsCurrent(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"internal/config", "docs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"config.go", "render.go"} {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "internal/config", name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", "render.go")
	cmd.Dir = filepath.Join(dir, "internal/config")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go run render.go: %v\n%s", err, out)
	}
	want, err := os.ReadFile(filepath.Join(dir, "docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("docs/configuration.md is not what the comments say; run make gen")
	}
}

func TestOptInRegions(t *testing.T) {
	for _, test := range []struct{ text, want, wrong string }{
		{"regions: [eu-central-1, ap-east-1, af-south-1]\n", "af-south-1 ap-east-1", ""},
		{"regions: [eu-central-1]\n", "", ""},
		{"region: me-south-1\nregions: [eu-central-1]\n", "me-south-1", ""},
		{"opt_in_regions: []\n", "", ""},
		{"regions: [eu-central-1, eu-west-1]\nopt_in_regions: [eu-west-1]\n", "eu-west-1", ""},
		{"regions: [eu-central-1]\nopt_in_regions: [eu-west-1]\n", "eu-west-1", `opt_in_regions: "eu-west-1"`},
	} {
		c, err := config.Parse([]byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDefaults()
		if got := strings.Join(c.OptInRegions, " "); got != test.want {
			t.Errorf("%q: %s, want %s", test.text, got, test.want)
		}
		if err := c.Check(); (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%q: %v", test.text, err)
		}
	}
	var c config.Config
	c.SetDefaults()
	if len(c.OptInRegions) != 17 || len(c.Regions) != 34 {
		t.Errorf("%d of %d Regions need opt-in by default", len(c.OptInRegions), len(c.Regions))
	}
}

func TestQuotas(t *testing.T) {
	c, err := config.Parse([]byte("quotas:\n  requests: true\n  rates: {symmetric: 500, CreateKey: 20, GenerateDataKeyPair/RSA_4096: 0.5}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDefaults()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	want := map[string]float64{"symmetric": 500, "CreateKey": 20, "GenerateDataKeyPair/RSA_4096": 0.5}
	if q := c.Quotas; !q.Requests || !maps.Equal(q.Rates, want) || q.Keys != 100_000 {
		t.Errorf("quotas = %+v", q)
	}
	c = new(config.Config)
	c.SetDefaults()
	if q := c.Quotas; q.Requests || q.Rates != nil || q.Keys != 100_000 {
		t.Errorf("without any: quotas = %+v", q)
	}
}
