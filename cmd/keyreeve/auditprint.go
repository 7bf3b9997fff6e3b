package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// auditEvent is what a line about an event shows of its record.
type auditEvent struct {
	Time         string `json:"eventTime"`
	Source       string `json:"eventSource"`
	Name         string `json:"eventName"`
	Region       string `json:"awsRegion"`
	Address      string `json:"sourceIPAddress"`
	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
	ReadOnly     bool   `json:"readOnly"`
	Recipient    string `json:"recipientAccountId"`
	Identity     struct {
		Type        string `json:"type"`
		PrincipalID string `json:"principalId"`
		ARN         string `json:"arn"`
		Account     string `json:"accountId"`
		UserName    string `json:"userName"`
		InvokedBy   string `json:"invokedBy"`
		Session     struct {
			Issuer struct {
				UserName string `json:"userName"`
			} `json:"sessionIssuer"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
	Resources []struct {
		ARN     string `json:"ARN"`
		Account string `json:"accountId"`
	} `json:"resources"`
}

// who returns a short name of whoever made the call.
func (e *auditEvent) who() string {
	i := &e.Identity
	_, session, _ := strings.Cut(i.PrincipalID, ":")
	var name string
	switch i.Type {
	case "Root":
		name = "root"
	case "AssumedRole":
		name = i.Session.Issuer.UserName + "/" + session
	case "FederatedUser":
		name = "federated/" + session
	case "AWSAccount": // the owner's copy tells no more of a foreigner
		name = i.PrincipalID
	default:
		name = i.UserName
	}
	switch {
	case name == "":
		name = i.InvokedBy
	case i.InvokedBy != "":
		name += " via " + i.InvokedBy
	}
	if name == "" {
		name = "?"
	}
	if i.Account != "" && i.Account != e.Recipient {
		name = i.Account + ":" + name
	}
	return name
}

// operation returns the name of the operation with that of its service.
func (e *auditEvent) operation() string {
	service, _, _ := strings.Cut(e.Source, ".")
	return service + ":" + e.Name
}

// touched returns the resources, shortened where they are the account's and
// the Region's own.
func (e *auditEvent) touched() string {
	var all []string
	for _, r := range e.Resources {
		short := r.ARN
		if parts := strings.SplitN(r.ARN, ":", 6); len(parts) == 6 && parts[4] == e.Recipient && (parts[3] == e.Region || parts[3] == "") {
			short = parts[5]
		}
		all = append(all, short)
	}
	return strings.Join(all, ", ")
}

// An auditPrinter prints events, a line each.
type auditPrinter struct {
	w      io.Writer
	json   bool
	colour bool
	width  int // of a line, in characters; 0 for any

	// columns are the widths so far. They grow, up to a bound, so that lines
	// are aligned and none waits for those that come after it.
	columns [5]int
	line    []byte
}

// The columns: time, place, operation, who, address. Narrower ones would begin
// to jump with the first long name.
var (
	leastColumns = [5]int{20, 0, 22, 12, 9}
	mostColumns  = [5]int{20, 30, 32, 32, 15}
)

func newAuditPrinter(w io.Writer, asJSON bool) *auditPrinter {
	p := &auditPrinter{w: w, json: asJSON, columns: leastColumns}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = max(width, 80)
		}
	}
	return p
}

// ANSI escape sequences.
const (
	ansiDim   = "\x1b[2m"
	ansiBold  = "\x1b[1m"
	ansiRed   = "\x1b[31m"
	ansiReset = "\x1b[0m"
)

// print prints records, each on a line of its own, in one write: whoever reads
// the other end of a pipe sees them at once, and whole.
func (p *auditPrinter) print(records []json.RawMessage) error {
	p.line = p.line[:0]
	for _, record := range records {
		if p.json {
			p.line = append(append(p.line, bytes.TrimSpace(record)...), '\n')
			continue
		}
		var e auditEvent
		if err := json.Unmarshal(record, &e); err != nil {
			return fmt.Errorf("reading a record: %w", err)
		}
		p.append(&e)
	}
	if _, err := p.w.Write(p.line); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// append appends the line of an event:
//
//	2026-11-22T03:04:05Z  111122223333 us-east-1  kms:Decrypt  alice  192.0.2.7  key/1234abcd-…
//	2026-11-22T03:04:06Z  111122223333 us-east-1  kms:Decrypt  bob    192.0.2.9  AccessDenied: User: …
func (p *auditPrinter) append(e *auditEvent) {
	cells := [5]string{e.Time, e.Recipient + " " + e.Region, e.operation(), e.who(), e.Address}
	left := p.width
	for i, text := range cells {
		text = printable(text)
		n := utf8.RuneCountInString(text)
		p.columns[i] = max(p.columns[i], min(n, mostColumns[i]))
		style := ""
		switch {
		case i == 0 || i == 1:
			style = ansiDim
		case i == 2 && !e.ReadOnly:
			style = ansiBold
		}
		p.styled(style, text)
		pad := max(p.columns[i]-n, 0) + 2
		p.line = append(p.line, strings.Repeat(" ", pad)...)
		left -= n + pad
	}
	rest, style := e.touched(), ""
	if e.ErrorCode != "" {
		style = ansiRed
		failure := e.ErrorCode
		if e.ErrorMessage != "" {
			failure += ": " + e.ErrorMessage
		}
		if rest != "" {
			rest += "  "
		}
		rest += failure
	}
	rest = printable(rest)
	if p.width > 0 {
		rest = shorten(rest, max(left, 20))
	}
	p.styled(style, rest)
	p.line = append(bytes.TrimRight(p.line, " "), '\n')
}

func (p *auditPrinter) styled(style, text string) {
	if !p.colour || style == "" || text == "" {
		p.line = append(p.line, text...)
		return
	}
	p.line = append(append(append(p.line, style...), text...), ansiReset...)
}

// printable returns a text that does nothing to a terminal: a caller chooses
// its user agent, its session's name and more.
func printable(s string) string {
	if !slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// shorten returns at most n characters of s.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
