// Package config is the configuration file and its reference manual.
//
// The comments of [Config] and of the structs in it are the manual: they are
// rendered into docs/configuration.md, and a test holds the two together. The
// file names where secrets are, never secrets. Unknown settings are errors,
// and every setting may be left out.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/quota"
)

//go:generate go run render.go

// Config is the configuration of one node.
type Config struct {
	// The directory that holds what the node keeps: the store, the
	// certificates, the audit records and the control socket. It is made on
	// the first start, for its owner alone. The root key, the private keys of
	// the certificates and the mark are beside it. Default: keyreeve-data.
	Data string `yaml:"data"`

	// The address of the TLS listener that carries every service.
	// Default: 127.0.0.1:4599.
	Listen string `yaml:"listen"`

	// The address of the private listener for /healthz, /readyz and /metrics,
	// without TLS and without authentication: keep it where only operators
	// reach it. "off" for none. Default: 127.0.0.1:4598, or a free port if
	// listen asks for one.
	Private string `yaml:"private"`

	// The address of an additional listener without TLS, for tests. It must be
	// a loopback address. Default: none.
	Plain string `yaml:"plain"`

	// The id of the management account that the first start makes, 12 digits.
	// Default: random.
	Account string `yaml:"account"`

	// The Region that `keyreeve env` tells clients to use. Default: us-east-1.
	Region string `yaml:"region"`

	// The Regions that requests may be signed for. Default: the standard
	// commercial Regions, and the one above. Those of China (cn-north-1,
	// cn-northwest-1) have SM2 keys and no ML-KEM, as AWS's.
	Regions []string `yaml:"regions"`

	// The Regions among those that an account must enable before its principals
	// can call a service there, as account:EnableRegion does; the management
	// account has the one above in any case. [] for none. Default: those that
	// AWS has so.
	OptInRegions []string `yaml:"opt_in_regions"`

	// The largest number of requests that are served at once; more wait at
	// their connections. Default: 10000.
	MaxRequests int `yaml:"max_requests"`

	TLS      TLS      `yaml:"tls"`
	Seal     Seal     `yaml:"seal"`
	Memory   Memory   `yaml:"memory"`
	Grants   Grants   `yaml:"grants"`
	Quotas   Quotas   `yaml:"quotas"`
	Audit    Audit    `yaml:"audit"`
	Outbound Outbound `yaml:"outbound"`

	Certificates Certificates `yaml:"certificates"`
	Attestation  Attestation  `yaml:"attestation"`
	Log          Log          `yaml:"log"`
}

// TLS is the server's certificate. Without one given, the first start makes a
// local certificate authority, and a certificate that it renews by itself.
type TLS struct {
	// A PEM file with the server's certificate and those between it and the
	// root. It is read again when it changes. Default: made by the local CA.
	Certificate string `yaml:"certificate"`

	// The PEM file with the certificate's private key, mode 0600.
	Key string `yaml:"key"`

	// The directory of the private keys of the local CA and of the certificate
	// that it makes. It stands beside the data directory, so that whoever has
	// a copy of the data cannot pose as the server. It is made on the first
	// start, for its owner alone. Default: the data directory's path with
	// ".tls" appended.
	Keys string `yaml:"keys"`

	// Further DNS names and IP addresses that the made certificate is for,
	// beside localhost, the loopback addresses and the host's name.
	Names []string `yaml:"names"`
}

// Seal is where the root key comes from.
type Seal struct {
	// "file": the root key is in a key file, and the node starts by itself.
	// "passphrase": it is derived from a passphrase, and the node starts
	// sealed unless passphrase_file is given. Default: file.
	Provider string `yaml:"provider"`

	// The key file. It stands beside the data directory, so that a copy of the
	// data is not a copy of the key. It must be a plain file with mode 0600.
	// Default: the data directory's path with ".root.key" appended.
	File string `yaml:"file"`

	// A file with the passphrase, mode 0600, for starting without a person.
	// Default: none; use `keyreeve seal unseal`.
	PassphraseFile string `yaml:"passphrase_file"`

	// The file that remembers how far the store had come, so that an older
	// copy put in its place is noticed. Default: the data directory's path
	// with ".mark" appended.
	Mark string `yaml:"mark"`
}

// Memory is how key material is held in memory.
type Memory struct {
	// "required": refuse to start where memory for key material can't be
	// locked; "try": go on, and warn. Default: try.
	Lock string `yaml:"lock"`

	// The most memory for unwrapped key material, such as 512KiB or 64MiB.
	// Keys beyond it are unwrapped for each use. Default: 16MiB.
	Size Size `yaml:"size"`

	// Material that was not used for so long is wiped. Default: 10m.
	Idle time.Duration `yaml:"idle"`

	// The number of keys, of aliases and of credentials that are kept decoded,
	// at most. Default: 100000.
	Records int `yaml:"records"`

	// The most memory for what is kept decoded, with policies compiled, such as
	// 256MiB: what would go beyond is read and decoded again when it is used.
	// 3/5 of it are for keys, aliases and grants, and 2/5 for accounts,
	// credentials and their policies. At least 8MiB. Default: 5KiB for each of
	// memory.records, which is 488MiB.
	Cache Size `yaml:"cache"`
}

// leastCache is the least memory for what is kept decoded.
const leastCache Size = 8 << 20

// Grants is how grants on keys come into force.
type Grants struct {
	// How long a new grant works only for calls that bring its grant token, up
	// to 5m. AWS's grants take so long to be known everywhere; with a delay,
	// software that forgets the grant token fails here, too. Default: 0, at once.
	Delay time.Duration `yaml:"delay"`
}

// maxGrantDelay is the time within which AWS's grants work everywhere. Source:
// "Grants in AWS KMS" in the AWS KMS Developer Guide.
const maxGrantDelay = 5 * time.Minute

// Quotas is how much accounts may have, and how often they may call: see
// quotas.md.
type Quotas struct {
	// The most keys that an account may have in a Region, those that are
	// disabled or pending deletion included. Default: 100000, as on AWS.
	Keys int `yaml:"keys"`

	// Whether calls are counted, and those that come too often answered with a
	// ThrottlingException. Default: false.
	Requests bool `yaml:"requests"`

	// Quotas that differ from AWS's, in calls per second of an account in a
	// Region, from 0.001 to 1000000: {symmetric: 500, CreateKey: 20}. The names
	// are in quotas.md. Default: AWS's.
	Rates map[string]float64 `yaml:"rates"`
}

// maxKeys bounds how long it takes to count the keys of an account.
const maxKeys = 10_000_000

// Certificates is who may get temporary credentials for an X.509 certificate, as
// from IAM Roles Anywhere: see certificates.md. Default: nobody.
type Certificates struct {
	// The certificate authorities that are trusted, up to 50.
	TrustAnchors []TrustAnchor `yaml:"trust_anchors"`

	// The roles that can be assumed with certificates, up to 250 profiles.
	Profiles []Profile `yaml:"profiles"`
}

// TrustAnchor is a certificate authority that is trusted to say who somebody is.
type TrustAnchor struct {
	// Its ARN, such as arn:aws:rolesanywhere:REGION:ACCOUNT:trust-anchor/NAME,
	// with a name of your own. The account is that of the roles, and the Region
	// the one that requests are signed for.
	ARN string `yaml:"arn"`

	// A PEM file with the authority's certificate, or several. It is read again
	// when it changes.
	CA string `yaml:"ca"`

	// A PEM file with certificate revocation lists of the authority, and of
	// others that it has certified. It is read again when it changes. Once a
	// list is out of date, what its issuer has certified is refused. Default:
	// none.
	CRL string `yaml:"crl"`
}

// Profile is roles that can be assumed with certificates, and what limits the
// sessions.
type Profile struct {
	// Its ARN, such as arn:aws:rolesanywhere:REGION:ACCOUNT:profile/NAME, with a
	// name of your own.
	ARN string `yaml:"arn"`

	// The ARNs of the roles, which are of the same account.
	Roles []string `yaml:"roles"`

	// How long sessions last that do not ask for less, 15m to 12h. A role's own
	// limit is another. Default: 1h.
	Duration time.Duration `yaml:"duration"`

	// The text of a session policy that limits what sessions may do. Default:
	// none.
	SessionPolicy string `yaml:"session_policy"`

	// The ARNs of managed policies that limit what sessions may do, up to 10.
	// Default: none.
	ManagedPolicies []string `yaml:"managed_policies"`

	// Whether clients may choose the session's name. Otherwise it is the serial
	// number of the certificate. Default: false.
	AcceptSessionName bool `yaml:"accept_session_name"`
}

// Attestation is who certifies the enclaves and instances that can have answers
// encrypted for them alone: see attestation.md.
type Attestation struct {
	// PEM files with the certificates of the authorities whose attestation
	// documents are accepted, up to 32 in all: for Nitro enclaves and NitroTPM,
	// those that AWS publishes. They are read when the node starts. Default:
	// none, so that every Recipient is refused.
	Roots []string `yaml:"roots"`
}

// Audit is how calls are recorded.
type Audit struct {
	// Wait for the disk before every answer. Without it, calls that change
	// something wait, and others are handed to the operating system before the
	// answer: they survive the process, but not a power failure within the
	// moments after. Default: false.
	Sync bool `yaml:"sync"`

	// How often records go from the journal into log files of the archive, from
	// 1s to 1h. Whatever is recorded is found at once, and copied by trails once
	// it is in a file. Default: 5m.
	Delivery time.Duration `yaml:"delivery"`

	// For how many days delivered records are kept and found; 0 for ever. Log
	// files go with the digest that lists them. Default: 90, as AWS's event
	// history.
	RetentionDays *int `yaml:"retention_days"`

	// The S3-compatible buckets that trails may copy records to: see audit.md.
	// Default: none, so that no trail can be made.
	Buckets []Bucket `yaml:"buckets"`

	// The syslog servers that trails may send records to, each of which is a log
	// group for them. Default: none.
	LogGroups []LogGroup `yaml:"log_groups"`
}

// Bucket is a bucket that trails may copy records to. Its host need not be among
// outbound.allow, since it is named here; but where its name leads to a loopback,
// link-local or private address, outbound.networks or outbound.resolve must
// allow that. An address in the place of a name is allowed by being named.
type Bucket struct {
	// Its name, as on the server and as trails name it.
	Name string `yaml:"name"`

	// The URL of the S3-compatible server, such as https://s3.example.com:9000.
	// With http:// the records are sent unencrypted; they are signed all the
	// same.
	Endpoint string `yaml:"endpoint"`

	// The Region that requests to it are signed for. Default: us-east-1.
	Region string `yaml:"region"`

	// A file with the access key, mode 0600: the profile "default" of a
	// credentials file of AWS's clients (aws_access_key_id,
	// aws_secret_access_key and, if there is one, aws_session_token). It is read
	// again when it changes.
	CredentialsFile string `yaml:"credentials_file"`

	// "path": the bucket's name is in the path of URLs; "host": it is the first
	// label of the host. Default: path.
	Style string `yaml:"style"`

	// A PEM file with the certificate authorities that the server may have its
	// certificate from. Default: those of outbound.trusted_ca.
	CA string `yaml:"ca"`

	// The accounts whose trails may copy to it, or "*" for all. Default: none.
	Accounts []string `yaml:"accounts"`

	// "governance" or "compliance": objects are put with an S3 Object Lock of
	// that mode, so that nobody can change or delete them before lock_days are
	// over. The bucket must have Object Lock enabled. Default: no lock.
	LockMode string `yaml:"lock_mode"`

	// How many days objects are locked. Only with lock_mode.
	LockDays int `yaml:"lock_days"`
}

// LogGroup is a syslog server that trails may send records to, as RFC 5424 has
// them. What is said of the addresses of buckets holds for it, too.
type LogGroup struct {
	// Its name: trails name it by the ARN
	// arn:aws:logs:REGION:ACCOUNT:log-group:NAME:* of their own account.
	Name string `yaml:"name"`

	// Where it is: tls://host:6514, tcp://host:601 or udp://host:514. With tcp
	// and udp the records are sent unencrypted, and with udp some can be lost.
	Address string `yaml:"address"`

	// A PEM file with the certificate authorities that the server may have its
	// certificate from. Default: those of outbound.trusted_ca.
	CA string `yaml:"ca"`

	// A PEM file with the certificate that the server is shown, and those
	// between it and its root. Default: none.
	Certificate string `yaml:"certificate"`

	// The PEM file with that certificate's private key, mode 0600.
	Key string `yaml:"key"`

	// The accounts whose trails may send to it, or "*" for all. Default: none.
	Accounts []string `yaml:"accounts"`
}

// maxRetentionDays is a hundred years.
const maxRetentionDays = 36500

// Retention returns for how long delivered records are kept; 0 means for ever.
func (a *Audit) Retention() time.Duration {
	if a.RetentionDays == nil {
		return 0
	}
	return time.Duration(*a.RetentionDays) * 24 * time.Hour
}

// Outbound is where the node may connect to when somebody other than the
// operator says so: to the OpenID Connect issuers that accounts name. There are
// no redirects, and no proxies.
type Outbound struct {
	// The hosts, such as token.actions.githubusercontent.com, "*.example.com"
	// for all below a domain, or idp.example.com:8443 for another port than
	// 443. Default: none, so that web identity tokens are not accepted.
	Allow []string `yaml:"allow"`

	// Networks of loopback, link-local, private and other special addresses
	// that allowed hosts may be in, such as 10.1.0.0/16. Default: none.
	Networks []string `yaml:"networks"`

	// Addresses of allowed hosts that are not to be looked up, such as
	// idp.example.com:443=127.0.0.1:8443. They may be special ones.
	Resolve []string `yaml:"resolve"`

	// A PEM file with the certificate authorities that hosts may have their
	// certificates from, in the place of the system's. Default: the system's.
	TrustedCA string `yaml:"trusted_ca"`
}

// A Resolved is a host, and where it is.
type Resolved struct {
	Host string // with its port, such as "idp.example.com:443"
	At   netip.AddrPort
}

// Resolved returns what resolve says.
func (o *Outbound) Resolved() ([]Resolved, error) {
	var list []Resolved
	for _, text := range o.Resolve {
		host, at, _ := strings.Cut(text, "=")
		name, _, err := net.SplitHostPort(host)
		target, bad := netip.ParseAddrPort(at)
		if err != nil || name == "" || bad != nil {
			return nil, fmt.Errorf("%q is not host:port=address:port", text)
		}
		list = append(list, Resolved{strings.ToLower(host), target})
	}
	return list, nil
}

// Prefixes returns what networks says.
func (o *Outbound) Prefixes() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range o.Networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.1.0.0/16", text)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

// isAllowed reports whether s is a host as outbound.allow has them.
func isAllowed(s string) bool {
	if host, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if s = host; err != nil || n == 0 {
			return false
		}
	}
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	return hostName.MatchString(strings.TrimPrefix(s, "*."))
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)

// Log is the node's own log, on standard error.
type Log struct {
	// "debug", "info", "warn" or "error". Default: info.
	Level string `yaml:"level"`

	// "text" or "json". Default: text.
	Format string `yaml:"format"`
}

// Size is a number of bytes, written with a unit: B, KiB, MiB or GiB.
type Size int64

var sizeUnits = []struct {
	name string
	size Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(n.Value, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32)
		if err != nil || v < 0 {
			break
		}
		*s = Size(v) * u.size
		return nil
	}
	return fmt.Errorf("line %d: %q is not a size; write it as 512KiB, 64MiB or 1GiB", n.Line, n.Value)
}

func (s Size) String() string {
	for _, u := range sizeUnits {
		if s >= u.size && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return "0B"
}

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 1 << 20

// Read reads the configuration file at path. Like [Parse], it leaves defaults
// and checks to the caller, whose flags come in between.
func Read(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse parses the text of a configuration file. It does not fill in defaults.
func Parse(text []byte) (*Config, error) {
	if len(text) > maxFile {
		return nil, errors.New("the file is larger than 1 MiB")
	}
	c := new(Config)
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	return c, nil
}

// standardRegions are the commercial Regions that need no opt-in, and those
// that do. Source: "AWS Regions" in the AWS Account Management guide.
var standardRegions = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2",
	"eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1",
	"us-west-2",
}

var regionName = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]{2,10}){1,2}-[0-9]{1,2}$`)

// optInRegions are those of the standard ones that need opt-in. Source: as
// above.
var optInRegions = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6",
	"ap-southeast-7", "ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1",
	"mx-central-1",
}

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.Data, "keyreeve-data")
	set(&c.Listen, "127.0.0.1:4599")
	if strings.HasSuffix(c.Listen, ":0") {
		set(&c.Private, "127.0.0.1:0")
	}
	set(&c.Private, "127.0.0.1:4598")
	set(&c.Region, "us-east-1")
	if len(c.Regions) == 0 {
		c.Regions = slices.Clone(standardRegions)
	}
	if !slices.Contains(c.Regions, c.Region) {
		c.Regions = append(c.Regions, c.Region)
	}
	if c.OptInRegions == nil {
		for _, r := range optInRegions {
			if slices.Contains(c.Regions, r) {
				c.OptInRegions = append(c.OptInRegions, r)
			}
		}
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = 10000
	}
	data := beside(c.Data)
	set(&c.TLS.Keys, data+".tls")
	set(&c.Seal.Provider, "file")
	set(&c.Seal.File, data+".root.key")
	set(&c.Seal.Mark, data+".mark")
	set(&c.Memory.Lock, "try")
	if c.Memory.Size == 0 {
		c.Memory.Size = 16 << 20
	}
	if c.Memory.Idle == 0 {
		c.Memory.Idle = 10 * time.Minute
	}
	if c.Memory.Records == 0 {
		c.Memory.Records = 100000
	}
	if c.Memory.Cache == 0 {
		c.Memory.Cache = max(Size(c.Memory.Records)*5<<10, leastCache)
	}
	if c.Quotas.Keys == 0 {
		c.Quotas.Keys = 100000
	}
	for i := range c.Certificates.Profiles {
		if p := &c.Certificates.Profiles[i]; p.Duration == 0 {
			p.Duration = time.Hour
		}
	}
	if c.Audit.Delivery == 0 {
		c.Audit.Delivery = 5 * time.Minute
	}
	if c.Audit.RetentionDays == nil {
		c.Audit.RetentionDays = new(90)
	}
	for i := range c.Audit.Buckets {
		set(&c.Audit.Buckets[i].Region, "us-east-1")
		set(&c.Audit.Buckets[i].Style, "path")
	}
	set(&c.Log.Level, "info")
	set(&c.Log.Format, "text")
}

// beside returns the path of a directory in a form to which a suffix can be
// appended for a file beside it.
func beside(dir string) string {
	dir = filepath.Clean(dir)
	// Appended to ".", it would make a file inside.
	if base := filepath.Base(dir); base == "." || base == ".." {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
	}
	return dir
}

// Check returns what is wrong with the settings, all of it.
func (c *Config) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	oneOf := func(name, v string, allowed ...string) {
		if !slices.Contains(allowed, v) {
			wrong("%s: %q is none of %s", name, v, strings.Join(allowed, ", "))
		}
	}
	address := func(name, v string) (host string) {
		host, port, err := net.SplitHostPort(v)
		if err != nil {
			wrong("%s: %q is not host:port", name, v)
			return ""
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			wrong("%s: %q is not a port (0 to 65535)", name, port)
		}
		return host
	}
	address("listen", c.Listen)
	if c.Private != "off" {
		address("private", c.Private)
	}
	if c.Plain != "" {
		host := address("plain", c.Plain)
		if ip := net.ParseIP(host); host != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			wrong("plain: %q is not a loopback address; traffic without TLS stays on this machine", c.Plain)
		}
	}
	if c.Account != "" && !arn.IsAccount(c.Account) {
		wrong("account: %q is not 12 digits", c.Account)
	}
	for _, r := range c.Regions {
		if !regionName.MatchString(r) {
			wrong("regions: %q is not the name of a Region", r)
		}
	}
	for _, r := range c.OptInRegions {
		if !slices.Contains(c.Regions, r) {
			wrong("opt_in_regions: %q is not one of the regions", r)
		}
	}
	if c.MaxRequests < 1 {
		wrong("max_requests: must be at least 1")
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		wrong("tls: certificate and key are given together or not at all")
	}
	oneOf("seal.provider", c.Seal.Provider, "file", "passphrase")
	if c.Seal.PassphraseFile != "" && c.Seal.Provider != "passphrase" {
		wrong("seal.passphrase_file: only for the provider passphrase")
	}
	oneOf("memory.lock", c.Memory.Lock, "required", "try")
	if c.Memory.Size < 4096 {
		wrong("memory.size: must be at least 4KiB")
	}
	if c.Memory.Idle < time.Second {
		wrong("memory.idle: must be at least 1s")
	}
	if c.Memory.Records < 1 {
		wrong("memory.records: must be at least 1")
	}
	if d := c.Audit.Delivery; d < time.Second || d > time.Hour {
		wrong("audit.delivery: must be from 1s to 1h")
	}
	if days := c.Audit.RetentionDays; days != nil && (*days < 0 || *days > maxRetentionDays) {
		wrong("audit.retention_days: must be from 0 to %d", maxRetentionDays)
	}
	if c.Memory.Cache < leastCache {
		wrong("memory.cache: must be at least 8MiB")
	}
	if c.Grants.Delay < 0 || c.Grants.Delay > maxGrantDelay {
		wrong("grants.delay: must be 0 to 5m")
	}
	if c.Quotas.Keys < 1 || c.Quotas.Keys > maxKeys {
		wrong("quotas.keys: must be from 1 to %d", maxKeys)
	}
	if err := quota.Check(c.Quotas.Rates); err != nil {
		wrong("quotas.rates: %w", err)
	}
	for _, host := range c.Outbound.Allow {
		if !isAllowed(host) {
			wrong("outbound.allow: %q is not a host, *.domain or host:port", host)
		}
	}
	if _, err := c.Outbound.Prefixes(); err != nil {
		wrong("outbound.networks: %w", err)
	}
	if _, err := c.Outbound.Resolved(); err != nil {
		wrong("outbound.resolve: %w", err)
	}
	for i, name := range c.Attestation.Roots {
		switch {
		case name == "":
			wrong("attestation.roots: an empty name")
		case slices.Contains(c.Attestation.Roots[:i], name):
			wrong("attestation.roots: %s is there twice", name)
		}
	}
	c.Certificates.check(c.Regions, wrong)
	c.Audit.check(wrong)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	return errors.Join(errs...)
}
