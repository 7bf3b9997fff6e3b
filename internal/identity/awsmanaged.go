package identity

import (
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
)

// awsManaged are the AWS managed policies, by ARN: those that an installation
// has use for, each with one version. Their statements are AWS's, those of
// ReadOnlyAccess for the services that are here. Their unique ids are AWS's.
var awsManaged = func() map[string]*managed {
	all := make(map[string]*managed)
	for _, p := range []struct{ name, id, description, document string }{
		{
			"AdministratorAccess", "ANPAIWMBCKSKIEE64ZLYK", "Provides full access to all services and resources.",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		},
		{
			"PowerUserAccess", "ANPAJYRXTHIB4FOVS3ZXS", "Provides full access to services and resources, but not to users and groups.",
			`{"Version":"2012-10-17","Statement":[` +
				`{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},` +
				`{"Effect":"Allow","Action":["account:GetAccountInformation","account:GetGovCloudAccountInformation","account:GetPrimaryEmail","account:ListRegions",` +
				`"iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles","organizations:DescribeEffectivePolicy","organizations:DescribeOrganization"],"Resource":"*"}]}`,
		},
		{
			"AWSKeyManagementServicePowerUser", "ANPAJNPP7PPPPMJRV2SA4", "Provides access to KMS, but not to what keys protect.",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:CreateAlias","kms:CreateKey","kms:DeleteAlias","kms:Describe*","kms:GenerateRandom",` +
				`"kms:Get*","kms:List*","kms:TagResource","kms:UntagResource","iam:ListGroups","iam:ListRoles","iam:ListUsers"],"Resource":"*"}]}`,
		},
		{
			"ReadOnlyAccess", "ANPAILL3HVNFSB6DCOWYQ", "Provides read-only access to services and resources.",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudtrail:Describe*","cloudtrail:Get*","cloudtrail:List*","cloudtrail:LookupEvents",` +
				`"ec2:Describe*","ec2:Get*","iam:Generate*","iam:Get*","iam:List*","iam:Simulate*","kms:Describe*","kms:Get*","kms:List*",` +
				`"organizations:Describe*","organizations:List*","sts:GetAccessKeyInfo","sts:GetCallerIdentity","sts:GetSessionToken"],"Resource":"*"}]}`,
		},
	} {
		made := time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC)
		m := &managed{
			name: p.name, path: "/", id: p.id, description: p.description, created: made, updated: made,
			versions: []version{{1, made, p.document}}, current: 1, last: 1,
		}
		all[m.arn()] = m
	}
	return all
}()

// awsManagedARNs are their ARNs, in order.
var awsManagedARNs = func() []string {
	var arns []string
	for arn := range awsManaged {
		arns = append(arns, arn)
	}
	slices.Sort(arns)
	return arns
}()

// awsPolicyID returns the unique id of one of AWS's managed policies, empty for
// what is none.
func awsPolicyID(arn string) string {
	if p := awsManaged[arn]; p != nil {
		return p.id
	}
	return ""
}

// Managed returns one of AWS's managed policies, compiled. It is shared.
func (d *Directory) Managed(arn string) (call.Attached, bool) {
	a, ok := d.aws[arn]
	return a, ok
}

// ManagedDocument returns the text of one of AWS's managed policies, and
// whether there is such a one here.
func ManagedDocument(arn string) (document string, ok bool) {
	p := awsManaged[arn]
	if p == nil {
		return "", false
	}
	return p.document(), true
}
