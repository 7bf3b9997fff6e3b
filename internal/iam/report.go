package iam

import (
	"context"
	"encoding/csv"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
)

const (
	// reportLasts is how long a credential report is given out, and no new one
	// made. Source: "Getting credential reports for your AWS account" in the IAM
	// User Guide.
	reportLasts = 4 * time.Hour
	// maxReports is how many accounts have one at once. They are kept in memory:
	// the oldest goes first, and all do when the node stops.
	maxReports = 64
)

// reportColumns are the columns of a credential report. There are neither
// passwords nor certificates here.
var reportColumns = []string{
	"user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed", "password_next_rotation",
	"mfa_active",
	"access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date", "access_key_1_last_used_region", "access_key_1_last_used_service",
	"access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date", "access_key_2_last_used_region", "access_key_2_last_used_service",
	"cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
}

// reports are the credential reports of accounts.
type reports struct {
	mu   sync.Mutex
	made map[string]report
}

type report struct {
	content []byte
	made    time.Time
}

// get returns the report of an account, and whether there is one.
func (r *reports) get(account string) (report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	made, ok := r.made[account]
	return made, ok
}

// put keeps the report of an account.
func (r *reports) put(account string, made report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made == nil {
		r.made = make(map[string]report)
	}
	r.made[account] = made
	if len(r.made) <= maxReports {
		return
	}
	oldest := account
	for other, have := range r.made {
		if have.made.Before(r.made[oldest].made) {
			oldest = other
		}
	}
	delete(r.made, oldest)
}

// GenerateCredentialReport implements [iamapi.Handler]. The report is made at
// once; the first answer says that it was begun, as AWS's does.
func (s *Service) GenerateCredentialReport(ctx context.Context, c *call.Call, in *iamapi.GenerateCredentialReportInput, out *iamapi.GenerateCredentialReportOutput) error {
	return serve(ctx, s, c, in, out, (*Service).generateCredentialReport)
}

func (s *Service) generateCredentialReport(ctx context.Context, c *call.Call, _ *iamapi.GenerateCredentialReportInput, out *iamapi.GenerateCredentialReportOutput) error {
	if err := s.decideAll(ctx, c, ""); err != nil {
		return err
	}
	account := c.Caller.Account
	old, ok := s.reports.get(account)
	if ok && c.Time.Sub(old.made) < reportLasts && !c.Time.Before(old.made) {
		out.State = iamapi.ReportStateTypeComplete
		return nil
	}
	content, err := s.credentialReport(ctx, account)
	if err != nil {
		return err
	}
	s.reports.put(account, report{content, c.Time.UTC().Truncate(time.Second)})
	out.State = iamapi.ReportStateTypeStarted
	out.Description = "No report exists. Starting a new report generation task"
	return nil
}

// GetCredentialReport implements [iamapi.Handler].
func (s *Service) GetCredentialReport(ctx context.Context, c *call.Call, in *iamapi.GetCredentialReportInput, out *iamapi.GetCredentialReportOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getCredentialReport)
}

func (s *Service) getCredentialReport(ctx context.Context, c *call.Call, _ *iamapi.GetCredentialReportInput, out *iamapi.GetCredentialReportOutput) error {
	if err := s.decideAll(ctx, c, ""); err != nil {
		return err
	}
	have, ok := s.reports.get(c.Caller.Account)
	switch {
	case !ok:
		return iamapi.ReportNotPresent("No report is available. Please generate a new report")
	case c.Time.Sub(have.made) >= reportLasts:
		return iamapi.ReportExpired("Report has expired. Please generate a new report")
	}
	out.Content, out.ReportFormat, out.GeneratedTime = have.content, iamapi.ReportFormatTypeTextCsv, have.made
	return nil
}

// credentialReport makes the credential report of an account.
func (s *Service) credentialReport(ctx context.Context, account string) ([]byte, error) {
	a, err := s.dir.Account(ctx, account)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.Write(reportColumns); err != nil {
		return nil, err
	}
	line := func(user, userARN, name string, created time.Time, password string, mfa bool) error {
		keys, err := s.dir.AccessKeys(ctx, account, name)
		if err != nil {
			return err
		}
		row := []string{user, userARN, reportTime(created), password, "N/A", "N/A", "N/A", reportFlag(mfa)}
		if name == "" { // the root user, of whom it is not told
			row = []string{user, userARN, reportTime(created), password, "no_information", password, password, reportFlag(mfa)}
		}
		for i := range 2 {
			if i >= len(keys) {
				row = append(row, "false", "N/A", "N/A", "N/A", "N/A")
				continue
			}
			k := &keys[i]
			u, err := s.dir.LastUse(ctx, account, k.ID)
			if err != nil {
				return err
			}
			region, service := u.Region, u.Service
			if u.Time.IsZero() {
				region, service = "N/A", "N/A"
			}
			row = append(row, reportFlag(k.Active), reportTime(k.Created), reportTime(u.Time), region, service)
		}
		return w.Write(append(row, "false", "N/A", "false", "N/A"))
	}
	if err := line("<root_account>", arn.Root(partition, account), "", a.Created, "not_supported", false); err != nil {
		return nil, err
	}
	for marker := ""; ; {
		users, next, err := s.dir.Users(ctx, account, identity.Page{Marker: marker, Limit: 1000})
		if err != nil {
			return nil, err
		}
		for i := range users {
			u := &users[i]
			devices, err := s.dir.UserMFADevices(ctx, account, u.Name)
			if err == nil {
				err = line(u.Name, u.ARN, u.Name, u.Created, "false", len(devices) > 0)
			}
			if err != nil && !errors.Is(err, identity.ErrNotFound) { // deleted meanwhile
				return nil, err
			}
		}
		if marker = next; marker == "" {
			break
		}
	}
	w.Flush()
	return slices.Clip([]byte(b.String())), w.Error()
}

func reportFlag(on bool) string {
	if on {
		return "true"
	}
	return "false"
}

// reportTime prints a time as reports do.
func reportTime(t time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return t.UTC().Format("2006-01-02T15:04:05+00:00")
}
