package dnsctl

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// maxRemark is the longest remark, in characters. The vendor's page of pvtz
// UpdateRecordRemark says so, and that it consists of digits, letters, Chinese
// and "_ - , ." alone; that of Alidns UpdateDomainRemark says the same. The page
// of Alidns UpdateDomainRecordRemark says nothing, so this rule is kept there too.
const maxRemark = 50

// The text of a mark has spaces and equal signs, and is too long. As a remark
// it is, without loss,
//
//	p1,TERM,EPOCH,OP,BY           or, for the operations that the core names,
//	p1,TERM,EPOCH,INSTANCE,T,BY   where OP is INSTANCE-T.EPOCH, T left out if it is TERM
//
// with numbers to the base of 36. The ID of an operation that a person asked
// for loses what can be put back: 20261123T061200Z-ab12cd, 261123061200ab12cd.
const remarkPrefix = "p1"

var (
	markWord    = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	coreOp      = regexp.MustCompile(`^(.+)-([0-9]+)\.([0-9]+)$`)
	shortOp     = regexp.MustCompile(`^[0-9]{12}[0-9a-f]{6}$`)
	shortOpTime = "060102150405"
	longOpTime  = "20060102T150405Z"
)

// toRemark writes a mark as a remark, or says why it does not fit.
func toRemark(mark string) (string, error) {
	m, err := failover.ParseMark(mark)
	if err != nil {
		return "", err
	}
	if !markWord.MatchString(m.Op) || !markWord.MatchString(m.By) {
		return "", fmt.Errorf("the mark %q has characters that a remark may not have", mark)
	}
	op := shortenOp(m.Op)
	if p := coreOp.FindStringSubmatch(m.Op); p != nil && p[3] == strconv.FormatUint(m.Token.Epoch, 10) {
		if t, err := strconv.ParseUint(p[2], 10, 63); err == nil {
			op = p[1] + ","
			if t != m.Token.Term {
				op += strconv.FormatUint(t, 36)
			}
		}
	}
	join := func(op string) string {
		return strings.Join([]string{remarkPrefix, strconv.FormatUint(m.Token.Term, 36), strconv.FormatUint(m.Token.Epoch, 36), op, m.By}, ",")
	}
	r := join(op)
	if fromRemark(r) != mark {
		r = join(m.Op) // numbers written in another way than ours
	}
	if len(r) > maxRemark {
		return "", fmt.Errorf("the mark %q takes %d characters as a remark, the vendor allows %d: shorten controller.name or the name of the instance by %d", mark, len(r), maxRemark, len(r)-maxRemark)
	}
	if fromRemark(r) != mark {
		return "", fmt.Errorf("the mark %q could not be read back from a remark", mark)
	}
	return r, nil
}

// RemarkFits says whether every mark of an instance under a controller fits
// into the 50 characters of a remark, up to a term of 1,679,615 and an epoch of
// 46,655. It is to be asked when a config is read, not during a failover.
func RemarkFits(instance failover.InstanceName, controller string) error {
	const term, epoch = 36*36*36*36 - 1, 36*36*36 - 1
	for _, op := range []string{fmt.Sprintf("%s-%d.%d", instance, term-1, epoch), "20261123T061200Z-ab12cd"} {
		m := failover.Mark{Token: failover.Token{Term: term, Epoch: epoch}, Op: op, By: controller}
		if _, err := toRemark(m.String()); err != nil {
			return err
		}
	}
	return nil
}

// fromRemark reads a remark back into the text of a mark. What is no mark
// stays what it is: somebody's note.
func fromRemark(r string) string {
	f := strings.Split(r, ",")
	if f[0] != remarkPrefix || len(f) != 5 && len(f) != 6 {
		return r
	}
	number := func(s string) (uint64, bool) {
		n, err := strconv.ParseUint(s, 36, 63)
		return n, err == nil && strconv.FormatUint(n, 36) == s
	}
	term, ok := number(f[1])
	epoch, ok2 := number(f[2])
	op, by := lengthenOp(f[3]), f[len(f)-1]
	if len(f) == 6 {
		t := term
		if f[4] != "" {
			var ok3 bool
			if t, ok3 = number(f[4]); !ok3 {
				return r
			}
		}
		op = fmt.Sprintf("%s-%d.%d", f[3], t, epoch)
	}
	if !ok || !ok2 || !markWord.MatchString(f[3]) || !markWord.MatchString(by) {
		return r
	}
	text := failover.Mark{Token: failover.Token{Term: term, Epoch: epoch}, Op: op, By: by}.String()
	if _, err := failover.ParseMark(text); err != nil {
		return r
	}
	return text
}

func shortenOp(op string) string {
	if len(op) != len("20261123T061200Z-ab12cd") || op[16] != '-' {
		return op
	}
	t, err := time.Parse(longOpTime, op[:16])
	if err != nil {
		return op
	}
	if s := t.Format(shortOpTime) + op[17:]; lengthenOp(s) == op {
		return s
	}
	return op
}

func lengthenOp(s string) string {
	if !shortOp.MatchString(s) {
		return s
	}
	t, err := time.Parse(shortOpTime, s[:12])
	if err != nil {
		return s
	}
	return t.Format(longOpTime) + "-" + s[12:]
}
