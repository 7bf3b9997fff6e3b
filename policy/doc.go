// Package policy parses and evaluates IAM policy documents, and says why.
//
// It is the policy language of AWS: identity-based policies, permissions
// boundaries and session policies; resource-based policies, key policies of KMS
// and trust policies of roles; service control and resource control policies;
// policies of VPC endpoints. It decides one document at a time. Who has several
// (AWS always has) combines their verdicts.
//
// # Parsing
//
// [Parse] is given the text and the type of a document, which decides its
// grammar. It is strict: what AWS rejects is rejected, unknown elements and
// operators, members that stand twice and values that are none are errors, and
// never ignored. An [Error] has the message that AWS answers, as far as that is
// known, and beside it the place and what exactly is wrong. [Options] has Stored
// for documents that were accepted when less was asked of them.
//
// A [Policy] is compiled, never changes, and may be used by many goroutines at
// once. Make it when the document is written, and keep it.
//
// # Evaluating
//
// A [Request] has a principal, an action, a resource, and the condition keys, as
// a [Context]: a map is one ([Values]), and whoever decides often writes one that
// looks into what it has. [Policy.Evaluate] returns a [Result]: whether a
// statement allows the request, whether one denies it, and for every statement
// whether it matches and which element kept it from that. Nothing is cut short,
// so the reasons are complete. [Policy.Verdict] is the same without reasons. A
// warm decision allocates nothing.
//
// AllowedBy in a Result says how the caller is named by the statements that
// allow: as a role, as the session of one, by the whole account. For AWS that
// makes a difference; see [Match].
//
// # What the language means here
//
// Elements and their order: Principal (or NotPrincipal), Action, Resource,
// Condition. All of them have to match.
//
//   - Actions do not depend on case. '*' and '?' stand anywhere.
//   - Resources do. An ARN is matched in its six parts, and a wildcard stays in
//     its part; in the last, '*' goes over ':' and '/' too. The service is
//     always written out. "*" matches everything, also the "*" of an action
//     without a resource.
//   - A Principal is "*", an account, a user, a role (all of its sessions), a
//     session, a federated user, a service, or the unique id of a user or role.
//     A NotPrincipal keeps its statement from a caller all of whose names it
//     lists: the account and the user; the account, the role and the session.
//   - Conditions: all operators and all keys of one have to hold; of several
//     values one has to match, or with a Not none may. Names of operators and
//     keys do not depend on case. A key that is not in the request makes a
//     condition false, but for operators with Not and IfExists, for Null, and for
//     ForAllValues. A key with several values, under an operator without
//     ForAllValues and ForAnyValue, counts with any of them.
//   - Policy variables stand in the last part of a resource and in values of
//     string and ARN operators, in documents of version 2012-10-17; in older ones
//     they are text. One that is not in the request and has no default makes its
//     value match nothing. What a variable stands for has no wildcards.
//   - Values of a request that are no number, date, address or boolean match
//     nothing, and with Not everything. New documents cannot have such values.
//
// Sources: "IAM JSON policy elements reference", "Grammar of the IAM JSON policy
// language" and "Policy evaluation logic" in the IAM User Guide; "Key policies"
// in the AWS KMS Developer Guide; "Service control policies" and "Resource
// control policies" in the AWS Organizations User Guide.
//
// # Limits
//
// Documents come from those whom they govern, so none may cost much. Texts are
// limited to [MaxBytes] and [MaxNesting]; parsing takes time and memory linear in
// the text. No pattern is tried twice at one place: see [Wildcard]. Multivalued
// keys and long values under many patterns take the product of both, so that is
// limited, and beyond it a policy denies: see [Result].
package policy
