package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/internal/config"
)

// configSchema prints what editors complete and mark by.
func (a *app) configSchema() *cobra.Command {
	var vantage bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of pointsman.yaml for editors",
		Long: `Print the JSON Schema (draft 2020-12) of pointsman.yaml, or of vantage.yaml.
Editors with a YAML language server take it by a first line such as
  # yaml-language-server: $schema=./pointsman.schema.json

It knows keys, types, words and ranges. What lies between keys only
'pointsman config validate' sees.`,
		Example: "  pointsman config schema > pointsman.schema.json\n  pointsman config schema --vantage > vantage.schema.json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			text := config.JSONSchema
			if vantage {
				text = config.VantageJSONSchema
			}
			data, err := text()
			if err != nil {
				return err
			}
			if _, err = a.stdout.Write(data); err != nil {
				return fmt.Errorf("print the schema: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&vantage, "vantage", false, "of vantage.yaml")
	return cmd
}
