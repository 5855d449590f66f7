// The SDK's suite is built with the versions that the SDK itself requires, and
// with nothing that it does not need. Its code of protobuf is of 2019: read by
// a later golang/protobuf it loses the fields that its descriptor lacks, such
// as the time of creation of a table. go 1.17 is the least that needs only the
// modules that are used; from 1.22 on the loops of the SDK would mean another
// thing than to its users.
module github.com/aliyun/aliyun-tablestore-go-sdk

go 1.17

require (
	github.com/golang/protobuf v1.3.2
	github.com/google/flatbuffers v23.5.26+incompatible
	github.com/hashicorp/golang-lru v0.5.4
	github.com/stretchr/testify v1.7.0
	gopkg.in/check.v1 v1.0.0-20201130134442-10cb98267c6c
)

require (
	github.com/davecgh/go-spew v1.1.0 // indirect
	github.com/kr/pretty v0.2.1 // indirect
	github.com/kr/text v0.1.0 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	gopkg.in/yaml.v3 v3.0.0-20200313102051-9f266ea9e77c // indirect
)
