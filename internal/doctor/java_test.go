package doctor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestJavaIsReadAsItsRuntimeReadsIt(t *testing.T) {
	base := map[string]string{
		"proc/7/comm": "java\n", "proc/7/exe": "-> /opt/jdk/bin/java", "proc/7/cwd": "-> /srv/app",
		"proc/7/cmdline": "/opt/jdk/bin/java\x00-Xmx1g\x00-jar\x00orders.jar\x00--port=1\x00",
		"proc/7/environ": "A=b\x00",
		"proc/7/root/opt/jdk/conf/security/java.security": "networkaddress.cache.negative.ttl=10\n#networkaddress.cache.ttl=-1\n",
		"proc/7/root/opt/jdk/release":                     "JAVA_VERSION=\"21.0.1\"\n",
	}
	const own = "proc/7/root/srv/app/my.security"
	cmdline := func(args ...string) string {
		return strings.Join(append(append([]string{"/opt/jdk/bin/java"}, args...), "-jar", "orders.jar"), "\x00") + "\x00"
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string // ttl, from, version, a part of the notes
	}{
		"defaults":     {nil, "30 the default 21.0.1 "},
		"in its file":  {map[string]string{"proc/7/root/opt/jdk/conf/security/java.security": "networkaddress.cache.ttl=60\n"}, "60 networkaddress.cache.ttl in /opt/jdk/conf/security/java.security 21.0.1 "},
		"for ever":     {map[string]string{"proc/7/root/opt/jdk/conf/security/java.security": "networkaddress.cache.ttl=-1\n"}, "-1 networkaddress.cache.ttl in /opt/jdk/conf/security/java.security 21.0.1 "},
		"a manager":    {map[string]string{"proc/7/cmdline": cmdline("-Djava.security.manager")}, "-1 the default under a security manager 21.0.1 "},
		"no manager":   {map[string]string{"proc/7/cmdline": cmdline("-Djava.security.manager=disallow")}, "30 the default 21.0.1 "},
		"the old word": {map[string]string{"proc/7/cmdline": cmdline("-Dsun.net.inetaddr.ttl=5")}, "5 -Dsun.net.inetaddr.ttl 21.0.1 "},
		"a wrong word": {map[string]string{"proc/7/cmdline": cmdline("-Dnetworkaddress.cache.ttl=5")}, "30 the default 21.0.1 -Dnetworkaddress.cache.ttl=5 has no effect: it is a security property"},
		"added":        {map[string]string{"proc/7/cmdline": cmdline("-Djava.security.properties=my.security"), own: "networkaddress.cache.ttl=11\n"}, "11 networkaddress.cache.ttl in /srv/app/my.security 21.0.1 "},
		"instead":      {map[string]string{"proc/7/cmdline": cmdline("-Djava.security.properties==/srv/app/my.security"), own: "networkaddress.cache.ttl=12\n"}, "12 networkaddress.cache.ttl in /srv/app/my.security 21.0.1 "},
		"by variable":  {map[string]string{"proc/7/environ": "JAVA_TOOL_OPTIONS=-Xmx1g -Dsun.net.inetaddr.ttl=6\x00"}, "6 -Dsun.net.inetaddr.ttl 21.0.1 "},
		"no number":    {map[string]string{"proc/7/root/opt/jdk/conf/security/java.security": "networkaddress.cache.ttl=soon\n"}, "30 networkaddress.cache.ttl in /opt/jdk/conf/security/java.security 21.0.1 networkaddress.cache.ttl is \"soon\", which is no number"},
		"no file":      {map[string]string{"proc/7/root/opt/jdk/conf/security/java.security": "-> /nothing/here"}, "30 the default 21.0.1 its java.security cannot be read"},
		"no program":   {map[string]string{"proc/7/exe": "not a link"}, "30 the default  its program cannot be seen"},
		"no arguments": {map[string]string{"proc/7/cmdline": "-> /nothing/here"}, "30 the default 21.0.1 /proc/7/cmdline: there is no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for k, v := range base {
				files[k] = v
			}
			for k, v := range c.files {
				files[k] = v
			}
			f := fakeHost(t, files).Java(Process{7, "java"})
			got := fmt.Sprintf("%s %s %s %s", f.TTL, f.From, f.Version, strings.Join(f.Notes, "; "))
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if name != "no arguments" && f.Main != "orders.jar" {
				t.Errorf("it runs %q", f.Main)
			}
		})
	}
}

// TestRealJavaIsRead runs a virtual machine, and holds what is read against what
// it says of itself. 'make test' leaves it out, by name, where none is.
func TestRealJavaIsRead(t *testing.T) {
	bin, err := exec.LookPath("java")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const program = `public class Wait { public static void main(String[] a) throws Exception {
		System.out.println(java.security.Security.getProperty("networkaddress.cache.ttl")); System.in.read(); } }`
	if err := os.WriteFile(filepath.Join(dir, "Wait.java"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "my.security"), []byte("networkaddress.cache.ttl=17\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-Djava.security.properties=my.security", "Wait.java")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(said) != "17" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("this java runs no source files: %q %v", said, err)
	}
	f := Host{}.Java(Process{cmd.Process.Pid, "java"})
	in.Close()
	_ = cmd.Wait()
	if f.TTL != "17" || !strings.HasSuffix(f.From, "my.security") || f.Version == "" || f.Main != "Wait.java" {
		t.Errorf("%+v", f)
	}
}
