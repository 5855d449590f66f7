package main

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/failover"
)

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "explain INSTANCE",
		Short:             "Say why the controller did, did not, or would act",
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.Explain(cmd.Context(), failover.InstanceName(args[0]))
			if err != nil {
				return nearInstance(err, args[0])
			}
			return a.print(e, func(w io.Writer) {
				fmt.Fprintln(w, clean(e.Headline))
				for _, l := range e.Lines {
					fmt.Fprintf(w, "  %s\n", clean(l))
				}
				fmt.Fprintln(w)
				a.guardsTable(w, e.Verdicts)
			})
		},
	}
	a.outputFlag(cmd)
	return cmd
}

func (a *app) guardsTable(w io.Writer, vs []failover.Verdict) {
	var rows [][]string
	for _, v := range vs {
		word := a.paint(text.FgGreen, "allows")
		switch {
		case !v.Allow && v.Binds:
			word = a.paint(text.FgRed, "REFUSES")
		case !v.Allow:
			word = a.paint(text.FgYellow, "would refuse") // does not bind this kind of start
		}
		rows = append(rows, []string{string(v.Guard), word, v.Why, v.Hint})
	}
	writeTable(w, []string{"GUARD", "SAYS", "WHY", "HINT"}, rows)
}
