package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"
)

// labAliyun stands in for the vendor's program aliyun, which is not to be had
// here: it takes the same command lines, refuses what the vendor's library does
// not know, and asks the lab, whose address and key are in the environment.
//
// Its tables are those of the vendor's page on --output (document 122111): heads,
// a rule, and rows with | between the columns.
func labAliyun() {
	if err := aliyun(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		os.Exit(1)
	}
}

var aliyunCalls = map[string]func() (requests.AcsRequest, responses.AcsResponse){
	"alidns DescribeSubDomainRecords": func() (requests.AcsRequest, responses.AcsResponse) {
		return alidns.CreateDescribeSubDomainRecordsRequest(), alidns.CreateDescribeSubDomainRecordsResponse()
	},
	"alidns UpdateDomainRecord": func() (requests.AcsRequest, responses.AcsResponse) {
		return alidns.CreateUpdateDomainRecordRequest(), alidns.CreateUpdateDomainRecordResponse()
	},
	"alidns UpdateDomainRecordRemark": func() (requests.AcsRequest, responses.AcsResponse) {
		return alidns.CreateUpdateDomainRecordRemarkRequest(), alidns.CreateUpdateDomainRecordRemarkResponse()
	},
	"pvtz DescribeZoneRecords": func() (requests.AcsRequest, responses.AcsResponse) {
		return pvtz.CreateDescribeZoneRecordsRequest(), pvtz.CreateDescribeZoneRecordsResponse()
	},
	"pvtz UpdateZoneRecord": func() (requests.AcsRequest, responses.AcsResponse) {
		return pvtz.CreateUpdateZoneRecordRequest(), pvtz.CreateUpdateZoneRecordResponse()
	},
	"pvtz UpdateRecordRemark": func() (requests.AcsRequest, responses.AcsResponse) {
		return pvtz.CreateUpdateRecordRemarkRequest(), pvtz.CreateUpdateRecordRemarkResponse()
	},
}

func aliyun(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%q names no call", args)
	}
	call := aliyunCalls[args[0]+" "+args[1]]
	if call == nil {
		return fmt.Errorf("no call %s %s", args[0], args[1])
	}
	q, r := call()
	var cols []string
	rows := ""
	for rest := args[2:]; len(rest) > 0; {
		flag, value := rest[0], ""
		if flag == "--output" {
			rest = rest[1:]
			for ; len(rest) > 0 && !strings.HasPrefix(rest[0], "--"); rest = rest[1:] {
				switch key, v, _ := strings.Cut(rest[0], "="); key {
				case "cols":
					cols = strings.Split(v, ",")
				case "rows":
					rows = v
				default:
					return fmt.Errorf("--output has no %q", rest[0])
				}
			}
			continue
		}
		name, ok := strings.CutPrefix(flag, "--")
		if !ok || len(rest) < 2 {
			return fmt.Errorf("%q is no flag with a value", flag)
		}
		value, rest = rest[1], rest[2:]
		if !setParam(q, name, value) {
			return fmt.Errorf("%s has no parameter %s", args[1], name)
		}
	}
	key := credentials.NewAccessKeyCredential(os.Getenv("LAB_KEY_ID"), os.Getenv("LAB_KEY_SECRET"))
	client, err := sdk.NewClientWithOptions("cn-hangzhou", sdk.NewConfig(), key)
	if err != nil {
		return err
	}
	client.Domain = os.Getenv("LAB_ENDPOINT")
	q.SetScheme(requests.HTTP)
	if err := client.DoAction(q, r); err != nil {
		return err
	}
	text := r.GetHttpContentString()
	if len(cols) == 0 {
		fmt.Println(text)
		return nil
	}
	return asTable(text, rows, cols)
}

// setParam sets the field of a request whose tag bears the name.
func setParam(q requests.AcsRequest, name, value string) bool {
	v := reflect.ValueOf(q).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("name") == name && v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString(value)
			return true
		}
	}
	return false
}

func asTable(text, rows string, cols []string) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var at any
	if err := d.Decode(&at); err != nil {
		return err
	}
	for _, key := range strings.Split(strings.TrimSuffix(rows, "[]"), ".") {
		m, _ := at.(map[string]any)
		if at = m[key]; at == nil {
			return fmt.Errorf("rows: the answer has no %s", rows)
		}
	}
	lines := [][]string{cols}
	list, _ := at.([]any)
	for _, x := range list {
		m, _ := x.(map[string]any)
		var row []string
		for _, c := range cols {
			row = append(row, fmt.Sprint(m[c]))
		}
		lines = append(lines, row)
	}
	widths := make([]int, len(cols))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], len(c))
		}
	}
	rule := make([]string, len(cols))
	for i, c := range cols {
		rule[i] = strings.Repeat("-", len(c))
	}
	for _, l := range slices.Insert(lines, 1, rule) {
		for i := range l {
			l[i] = fmt.Sprintf("%-*s", widths[i], l[i])
		}
		fmt.Println(strings.Join(l, " | "))
	}
	return nil
}
