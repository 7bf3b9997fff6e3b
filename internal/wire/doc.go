// Package wire speaks awsJson1_1, the protocol of AWS KMS: JSON bodies whose
// blobs are base64 strings and whose times are seconds since 1970; and awsQuery,
// that of AWS IAM and STS: a form is answered with XML. The bodies of restJson1,
// that of Account Management, are those of awsJson1_1.
//
// A [Reader] walks a JSON body without reflection and without recursion on
// what it is sent, and a [Query] looks up what a form holds; the Append
// functions write an answer into a caller's buffer; [Violations] collects the
// texts of a ValidationException; an [Error] is what a caller is answered.
// Generated packages put them together.
//
// The protocols are described at
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html and
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html.
package wire
