package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manDate stands in every page, so that two builds of one version make the
// same files; packagers set SOURCE_DATE_EPOCH for another.
var manDate = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// manCommand writes the manual that packages ship.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands into a folder",
		Long: `Write one manual page for each command into DIR, which is made where it is
missing. The date in them is fixed, or that of $SOURCE_DATE_EPOCH (seconds), so
that the same program writes the same files.`,
		Example: "  pointsman man man1 && man -l man1/pointsman-config-explain.1",
		Args:    exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := a.sourceDate()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed("give a folder that can be written", "make %s: %w", args[0], plainError(err))
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // it carries the day of the build
			header := &doc.GenManHeader{Section: "1", Date: &date, Source: "pointsman", Manual: "pointsman manual"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return failed("give a folder that can be written", "write manual pages: %w", err)
			}
			fmt.Fprintf(a.stderr, "wrote the pages; the first is: man -l %s/pointsman.1\n", clean(args[0]))
			return nil
		},
	}
}

// sourceDate is the date of the pages (reproducible-builds.org/specs/source-date-epoch).
func (a *app) sourceDate() (time.Time, error) {
	text := a.env("SOURCE_DATE_EPOCH")
	if text == "" {
		return manDate, nil
	}
	var sec int64
	if n, err := fmt.Sscanf(text, "%d", &sec); n != 1 || err != nil || fmt.Sprint(sec) != text {
		return manDate, failed("write the seconds since 1970, or unset it", "$SOURCE_DATE_EPOCH %q is no number of seconds", text)
	}
	return time.Unix(sec, 0).UTC(), nil
}
