package identity

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// A session token is a header of every request, which costs more to read and to
// verify the longer it is. So the session policy in it is compressed, by itself:
// nothing secret is in the same stream, whose length anybody sees.

// packWords is what session policies mostly consist of; the last words are the
// likeliest. It is part of the format of tokens.
const packWords = `"NotAction":"NotResource":"StringNotEquals":{"NumericLessThan":{"DateLessThan":{"IpAddress":{"Bool":{"Null":{"aws:SourceIp":` +
	`"aws:RequestedRegion":"aws:PrincipalTag/"aws:ResourceTag/"s3:GetObject","s3:ListBucket"iam:sts:AssumeRole"arn:aws:s3:::arn:aws:iam::` +
	`"ForAnyValue:StringLike":{"ForAllValues:StringEquals":{"StringLike":{"kms:ViaService":"kms:EncryptionContextKeys":"kms:EncryptionContext:` +
	`"kms:GenerateDataKeyWithoutPlaintext","kms:GenerateDataKey*","kms:ReEncrypt*","kms:DescribeKey","kms:Encrypt","kms:Decrypt",` +
	`"Condition":{"StringEquals":{"Effect":"Deny","Effect":"Allow","Sid":"","Action":["kms:*"],"Resource":["arn:aws:kms:*"],` +
	`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// maxUnpacked bounds what a packed text is unpacked to, in bytes: 2,048
// characters of four bytes.
const maxUnpacked = 8 << 10

var errPacked = errors.New("identity: a damaged session policy")

func pack(text string) string {
	if text == "" {
		return ""
	}
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(packWords))
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes all, and the level is right
	}
	return b.String()
}

func unpack(packed string) (string, error) {
	if packed == "" {
		return "", nil
	}
	r := flate.NewReaderDict(bytes.NewReader([]byte(packed)), []byte(packWords))
	text, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil || len(text) == 0 || len(text) > maxUnpacked {
		return "", errPacked
	}
	return string(text), nil
}
