module github.com/keyreeve/keyreeve/tools/apigen

go 1.26.0

require (
	github.com/aws/aws-sdk-go v1.55.8
	github.com/aws/aws-sdk-go-v2/service/kms v1.62.4
)

require (
	github.com/aws/smithy-go v1.28.8 // indirect
	github.com/keyreeve/keyreeve v0.0.0
)

replace github.com/keyreeve/keyreeve => ../..
