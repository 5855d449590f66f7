package notify

import "pointsman/internal/failover"

// chinese has the words of messages in Chinese.
var chinese = words{
	kinds: map[string]phrase{
		"auth-fault":              {"两个集群都拒绝访问密钥", "不做任何切换，DNS 继续应答最后一次提交的值。请查云厂商状态页与我们自己的密钥；任一侧恢复并持续 ride_out 之前不会启动切换。"},
		"blind":                   {"探测无法判断某个集群的状态", "在此期间不会切到该集群，也不会从它切走。集群有应答，问题在我们的密钥、网络、时钟或配置。"},
		"both-down":               {"两个集群都不可用", "不做任何切换：另一侧并不更好。请查两侧共同依赖的部分。"},
		"config":                  {"探测点与控制器的配置不一致", "按其他配置投的票不计。请把最新的配置文件发到每个探测点。"},
		"drift":                   {"域名记录被他人改动", "不会自动改回。用 adopt 接受现值，或用 restore 恢复我们的值。"},
		"fault":                   {"决策循环遇到本程序的缺陷", "实例按其记录继续。请保留日志以便报告缺陷。"},
		"held":                    {"操作被暂缓", "阻碍消失后会自动继续。"},
		"ledger":                  {"账本无法写入", "磁盘修复并重启控制器之前，不做决策也不切换。DNS 继续应答最后一次提交的值。"},
		"move":                    {"域名尚未显示新值", "此步之后不能回退：会重试写入，直到看到新值。"},
		"operation":               {"操作已开始", "用 status 跟踪；在仍可中止时可用 abort。"},
		"pause-stands":            {"自动化仍处于暂停状态", "有人恢复之前，不会自动开始任何操作。"},
		"proposal":                {"建议进行故障切换", "有人同意后才会执行。"},
		"proposal-expired":        {"建议未在限期内得到答复", "不会自动切换。仍可由人下令切换。"},
		"hook":                    {"后置钩子已放弃", "切换已生效；钩子要做的事需由人完成。"},
		"publication":             {"并非所有权威服务器都显示该记录", "使用滞后服务器的客户端仍访问旧集群。"},
		"refused":                 {"需要故障切换，但被拒绝", "已列出拒绝的守卫。部分守卫可由人指名越过。"},
		"replication-exposure":    {"故障切换的损失将超过允许值", "尚未同步的写入使自动切换受阻。请查看取决于哪张表。"},
		"replication-gap":         {"数据流有一段未读即已失效", "在该表重新全量复制之前，无法得知备集群缺少什么；在此期间不会自动切到备集群。"},
		"replication-lost":        {"一次操作遗留了未同步的写入", "已逐行列出并保留。不会自动回写。"},
		"replication-paused":      {"复制仍处于暂停状态", "有人恢复之前，备集群每秒落后一秒。"},
		"replication-refused":     {"备集群拒绝写入部分行", "这些行连同原因已另行保存；在有人处理之前，一律按未同步计。"},
		"replication-resync":      {"表正在重新全量复制", "备集群上有而主集群上没有的行会被删除。"},
		"replication-unprotected": {"备集群目前不能接管", "在所列问题解决之前，拒绝故障切换到备集群。"},
		"settled":                 {"操作已顺利结束", ""},
		"slow-reads":              {"切换在等待读取域名记录", "DNS 服务商应答缓慢或没有应答。"},
		"ttl":                     {"TTL 尚未恢复", "会再次尝试。"},
		"unwind":                  {"操作正在退回起点", ""},
		"unwound":                 {"操作已退回起点", "域名仍在原处。再次尝试前请先查明原因。"},
		"write-path":              {"域名记录无法写入", "请检查 DNS 服务商、密钥，以及该域名上的其他记录。"},
		"yield":                   {"本控制器让出", "有更新的控制器在主导，或账本中的记录更新。同一账本上不可运行两个控制器。"},
		"yielded":                 {"操作已交给另一控制器", ""},

		Over:     {"已恢复", ""},
		TestKind: {"这是一条测试消息", ""},
	},
	other: phrase{"%s 类消息", "含义请用 explain 查看。"},

	fire: "【告警】", resolve: "【恢复】", info: "【通知】",

	votes: map[failover.Vote]string{failover.Up: "可用", failover.Down: "不可用", failover.Unknown: "未知"},
	sight: "%s：%s 判断为%s",
	wills: map[string]string{
		WillFailover: "守卫全部同意后，故障切换到 %s",
		WillContinue: "操作继续，目标为 %s",
		WillUnwind:   "操作退回到 %s",
		WillExpire:   "切换到 %s 的建议若无人答复将失效",
		WillRetry:    "会再次尝试",
	},
	comma: "，", bound: "最多 %s 的写入", rows: "，%d 行",

	since: "开始时间：", evidence: "证据：", loss: "现在切换的损失：", will: "将自动：", commands: "可用命令：",
	unknown: "未知：", runbook: "处置手册：", from: "来自：",

	notKnown: "未知", nothing: "不做任何事", in: "%s 后", ago: "%s 前",
	shadow: "[shadow]", shadowLine: "本控制器处于影子模式：只做判断，不做任何操作。",
	testText: "由 'pointsman notify test' 发送，没有发生任何事情。",
	digest:   "此前 %d 条：",
}
