using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Xunit;

namespace Broker.Tests.Interop.Cli;

/// <summary>Every verb of the command line, over real brokers.</summary>
public sealed partial class CommandLineTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Messages_are_published_read_and_followed()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        using var cli = Cli(brokers);
        Assert.Equal(
            "Stored in 'orders' at offset 0.\n",
            await cli.DoneAsync("pub", "orders", "hello", "--key", "42", "-H", "kind: new", "-o", "table"));
        Assert.Equal("orders\t0\t1\n", await cli.DoneAsync(["pub", "orders"], "two\nlines"));
        var file = Path.Combine(cli.Home, "message");
        await File.WriteAllBytesAsync(file, [0xff, 0x00], Test);
        await cli.DoneAsync("pub", "orders", "--file", file, "--priority", "3", "--ttl", "1h");
        Assert.Equal("orders\t2\n", await cli.DoneAsync(["pub", "orders", "--lines"], "a\nb\n"));
        Assert.Equal("orders\t3\n", await cli.DoneAsync("pub", "orders", "again", "--count", "3"));

        Assert.Equal("hello\ntwo\\nlines\n/wA=\na\nb\nagain\nagain\nagain\n", await cli.DoneAsync("read", "orders"));
        Assert.Equal("again\nagain\n", await cli.DoneAsync("read", "orders", "--last", "2"));
        Assert.Equal("a\n", await cli.DoneAsync("read", "orders", "--from", "3", "--count", "1"));
        Assert.Equal("hello\n", await cli.DoneAsync("read", "orders", "--since", "1h", "--count", "1"));
        Assert.Equal("", await cli.DoneAsync("read", "orders", "--end"));
        Assert.Equal(
            "T  orders@0 [42] kind=new  hello\nT  orders@1  two\\nlines\n",
            Timeless(await cli.DoneAsync("read", "orders", "--count", "2", "-o", "table")));
        var json = await cli.DoneAsync("read", "orders", "--count", "3", "-o", "json");
        Assert.Equal(
            """
            {"topic":"orders","partition":0,"offset":0,"time":"T","key":"42","headers":{"kind":"new"},"value":"hello"}
            {"topic":"orders","partition":0,"offset":1,"time":"T","value":"two\nlines"}
            {"topic":"orders","partition":0,"offset":2,"time":"T","ttl_ms":3600000,"priority":3,"value_base64":"/wA="}

            """,
            Timeless(json));

        // What was read is published again, byte by byte.
        Assert.Equal("copy\t3\n", await cli.DoneAsync(["pub", "copy", "--ndjson"], json));
        Assert.Equal(
            Timeless(json).Replace("orders", "copy", StringComparison.Ordinal),
            Timeless(await cli.DoneAsync("read", "copy", "-o", "json")));
        var (code, _, error) = await cli.RunAsync(["pub", "copy", "--ndjson"], "{\"value\":\"x\"}\n{\"valeu\":1}\n");
        Assert.Equal(2, code);
        Assert.Contains("Line 2 is no message: it has 'valeu'", error, StringComparison.Ordinal);
        await cli.DoneAsync("pub", "later", "x", "--delay", "1h", "--count", "2");
        var delayed = (JsonArray)await cli.JsonAsync("delayed", "list", "later");
        Assert.Equal((2, 1), (delayed.Count, (int)delayed[1]!["offset"]!));
        Assert.Equal("later\t1\n", await cli.DoneAsync("delayed", "cancel", "later", "1", "7"));
        Assert.Single((JsonArray)await cli.JsonAsync("delayed", "list", "later"));
        await cli.FailsAsync(2, "'x' is no offset", "delayed", "cancel", "later", "x");
        await cli.DoneAsync("pub", "keyed", "1", "--key", "k");
        await cli.DoneAsync("pub", "keyed", "2", "--key", "k");
        Assert.Equal("2\n", await cli.DoneAsync("read", "keyed", "--last-per-key"));
        Assert.Equal("1\n", await cli.DoneAsync("read", "keyed", "--local", "--count", "1"));

        using var following = cli.Start("sub", "orders.*", "copy", "--count", "2");
        var said = following.StandardOutput.ReadToEndAsync(Test);
        while (!following.HasExited)
        {
            await cli.DoneAsync("pub", "orders.us", "news");
        }

        Assert.Equal("news\nnews\n", await said);
        Assert.Equal(
            "news\n", await cli.DoneAsync("sub", "orders.us", "--beginning", "--count", "1"));
    }

    [Fact]
    public async Task Topics_are_made_shown_changed_purged_and_deleted()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        using var cli = Cli(brokers);
        Assert.Equal(
            "Topic 'a' is there, with 4 partitions.\n",
            await cli.DoneAsync(
                "topic", "create", "a", "--partitions", "4", "--max-age", "7d", "--max-bytes", "1GiB", "-o", "table"));
        await cli.DoneAsync("topic", "create", "b.c", "--compact", "true", "--delete-marker-age", "1h30m");
        await cli.DoneAsync("pub", "b.c", "x", "--key", "k", "--count", "5");
        Assert.Equal(
            """
            NAME SHARD PARTITIONS FIRST OFFSET NEXT OFFSET
            a    N     4          0            0
            b.c  N     1          0            5

            """,
            Shards().Replace(await cli.DoneAsync("topic", "list", "-o", "table"), "${1}N"));
        Assert.Single((JsonArray)await cli.JsonAsync("topic", "list", "b.*"));
        var info = await cli.JsonAsync("topic", "info", "a");
        Assert.Equal(
            (4, 604_800_000L, 1L << 30, false),
            ((int)info["partitions"]!, (long)info["max_age_ms"]!, (long)info["max_bytes"]!, (bool)info["compact"]!));
        var people = await cli.DoneAsync("topic", "info", "b.c", "-o", "table");
        Assert.Contains("delete marker age:  1h30m\n", people, StringComparison.Ordinal);
        Assert.Contains("next offset:        5\n", people, StringComparison.Ordinal);

        info = await cli.JsonAsync("topic", "update", "a", "--max-records", "10", "--max-age", "0");
        Assert.Equal((10, 0), ((int)info["max_records"]!, (int)info["max_age_ms"]!));
        Assert.Equal("b.c\t3\n", await cli.DoneAsync("topic", "purge", "b.c", "--before", "3", "--yes"));
        await cli.FailsAsync(2, "say --yes", "topic", "purge", "b.c");
        Assert.Equal("b.c\t5\n", await cli.DoneAsync("topic", "purge", "b.c", "--yes"));
        Assert.Equal("a\t0\n", await cli.DoneAsync("topic", "purge", "a", "--partition", "1", "--yes"));
        Assert.Equal("a\t0\n", await cli.DoneAsync("topic", "purge", "a", "--before-time", "1h", "--yes"));

        await cli.FailsAsync(2, "say --yes", "topic", "delete", "b.c");
        Assert.Equal("b.c\tyes\n", await cli.DoneAsync("topic", "delete", "b.c", "--yes"));
        await cli.FailsAsync(3, "There is no topic 'b.c'", "topic", "delete", "b.c", "--yes");
        await cli.FailsAsync(3, "There is no topic 'b.c'", "topic", "info", "b.c");
        await cli.FailsAsync(1, "'a'", "topic", "create", "a");
        await cli.FailsAsync(2, "Nothing is to be changed", "topic", "update", "a");

        await cli.DoneAsync("topic", "template", "put", "logs.>", "--max-age", "1d");
        await cli.DoneAsync("topic", "template", "auto-create", "off");
        await cli.FailsAsync(3, "no topic 'new'", "pub", "new", "x");
        await cli.DoneAsync("topic", "template", "auto-create", "on");
        await cli.DoneAsync("pub", "logs.a", "x");
        Assert.Equal(86_400_000, (int)(await cli.JsonAsync("topic", "info", "logs.a"))["max_age_ms"]!);
        Assert.Equal("logs.>", (string?)(await cli.JsonAsync("topic", "template", "list"))[0]!["filter"]);
        await cli.DoneAsync("topic", "template", "delete", "logs.>");
        Assert.Empty((JsonArray)await cli.JsonAsync("topic", "template", "list"));
    }

    [Fact]
    public async Task Groups_are_made_consumed_moved_and_their_dead_letters_redriven()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        using var cli = Cli(brokers);
        await cli.DoneAsync(["pub", "jobs", "--lines"], "one\ntwo\nthree\n");
        Assert.Equal(
            "Group 'g' follows jobs, tasks.>.\n",
            await cli.DoneAsync(
                "group", "create", "g", "jobs", "tasks.>", "--max-deliveries", "1", "--back-off", "10ms,1s",
                "-o", "table"));
        var info = await cli.JsonAsync("group", "info", "g");
        Assert.Equal(["jobs", "tasks.>"], ((JsonArray)info["filters"]!).Select(static filter => (string?)filter));
        Assert.Equal("[10,1000]", info["back_off"]!.ToJsonString());
        Assert.Equal((3, 1), ((int)info["lag"]!, (int)info["max_deliveries"]!));

        // Without settling it comes again; with one delivery alone a nack makes it a dead letter.
        Assert.Equal("one\n", await cli.DoneAsync("group", "consume", "g", "--count", "1"));
        var line = JsonNode.Parse(
            await cli.DoneAsync("group", "consume", "g", "--count", "1", "--then", "nack", "-o", "json"))!;
        Assert.Equal(("two", 1), ((string?)line["value"], (int)line["attempt"]!));
        await Eventually.HoldsAsync(
            async () => ((JsonArray)await cli.JsonAsync("dlq", "list", "g")).Count == 1, () => "it is a dead letter");
        var letter = (await cli.JsonAsync("dlq", "list", "g"))[0]!;
        Assert.Equal(
            ("jobs", 1, 1), ((string?)letter["topic"], (int)letter["offset"]!, (int)letter["attempts"]!));
        var position = (string)letter["position"]!;
        Assert.Equal("two\n", await cli.DoneAsync("dlq", "peek", "g"));
        Assert.Equal("two\n", await cli.DoneAsync("dlq", "peek", "g", position));
        await cli.FailsAsync(3, "no dead letter at 99", "dlq", "peek", "g", "99");
        await cli.FailsAsync(2, "'x' is no position", "dlq", "redrive", "g", "x");
        Assert.Equal("g\t1\n", await cli.DoneAsync("dlq", "redrive", "g", position, "--rate", "10"));
        var again = new[]
        {
            await cli.DoneAsync("group", "consume", "g", "--count", "1"),
            await cli.DoneAsync("group", "consume", "g", "--count", "1"),
        };
        Assert.Equal(["three\n", "two\n"], again.Order());

        await cli.DoneAsync("pub", "jobs", "four");
        await cli.DoneAsync("group", "consume", "g", "--count", "1", "--then", "nothing");
        var held = (JsonArray)await cli.JsonAsync("group", "peek", "g", "outstanding");
        Assert.Equal(("jobs", 3, 1), Place(Assert.Single(held)!));
        Assert.Empty((JsonArray)await cli.JsonAsync("group", "peek", "g", "delayed"));
        await cli.FailsAsync(2, "'lost'", "group", "peek", "g", "lost");

        Assert.Equal("g\tyes\n", await cli.DoneAsync("group", "pause", "g"));
        Assert.True((bool)(await cli.JsonAsync("group", "list"))[0]!["paused"]!);
        Assert.Equal("g\tno\n", await cli.DoneAsync("group", "resume", "g"));
        info = await cli.JsonAsync("group", "update", "g", "--ack-wait", "2m", "--filter", "jobs");
        Assert.Equal((120_000, 1), ((int)info["ack_wait_ms"]!, ((JsonArray)info["filters"]!).Count));
        await cli.FailsAsync(2, "say --yes", "group", "seek", "g", "beginning");
        await cli.FailsAsync(2, "--topic", "group", "seek", "g", "1", "--yes");
        await cli.FailsAsync(2, "expected beginning, end", "group", "seek", "g", "sometime", "--yes");
        var place = (JsonArray)await cli.JsonAsync("group", "seek", "g", "1", "--topic", "jobs", "--yes");
        Assert.Equal((1, 3), ((int)place[0]!["ack_floor"]!, (int)place[0]!["lag"]!));
        await cli.DoneAsync("group", "seek", "g", "end", "--yes");
        Assert.Equal(0, (int)(await cli.JsonAsync("group", "info", "g"))["lag"]!);
        var people = await cli.DoneAsync("group", "info", "g", "-o", "table");
        Assert.Contains("lag:                0\n", people, StringComparison.Ordinal);

        Assert.Equal("g\t0\n", await cli.DoneAsync("dlq", "purge", "g", "--yes"));
        await cli.FailsAsync(2, "say --yes", "group", "delete", "g");
        Assert.Equal("g\tyes\n", await cli.DoneAsync("group", "delete", "g", "--yes"));
        await cli.FailsAsync(3, "'g'", "group", "info", "g");
        await cli.FailsAsync(3, "'g'", "group", "delete", "g", "--yes");
    }

    [Fact]
    public async Task Clusters_are_shown_and_nodes_added_drained_and_removed()
    {
        await using var brokers = new Scenarios.Brokers(founders: 3);
        await brokers.FormAsync();
        using var cli = new CommandLineRun(brokers.GrpcOf(1), brokers.GrpcOf(2), brokers.GrpcOf(3));
        var status = await cli.JsonAsync("cluster", "status");
        Assert.Equal((3, 2), (((JsonArray)status["nodes"]!).Count, ((JsonArray)status["shards"]!).Count));
        var people = await cli.DoneAsync("cluster", "status", "-o", "table");
        Assert.Contains("NODE NAME     ADDRESS", people, StringComparison.Ordinal);

        await cli.DoneAsync("cluster", "transfer", "1", "3");
        Assert.Equal(3, await LeaderAsync(cli));
        await cli.DoneAsync("cluster", "drain", "3");
        await Eventually.HoldsAsync(
            async () => await LeaderAsync(cli) is not (3 or 0), () => "node 3 leads nothing", 60);
        await cli.DoneAsync("cluster", "undrain", "3");
        await Eventually.HoldsAsync(
            async () =>
            {
                // The leader may not have heard yet that the node drains no more.
                await cli.RunAsync(["cluster", "rebalance"], input: null);
                var shards = (JsonArray)(await cli.JsonAsync("cluster", "status"))["shards"]!;
                return shards.All(static shard => (int?)shard!["leader"] == (int?)shard["preferred"]);
            },
            () => "each shard is led where it is to be",
            60);

        brokers.Start(4, ("Broker__Join", "invitation"));
        await brokers.SaysAsync(4, "waits for an invitation");
        Assert.Equal(
            "4\tbroker-4\n", await cli.DoneAsync("cluster", "add", "broker-4", brokers.PeerOf(4).ToString()));
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        await cli.FailsAsync(2, "A shard has 3 to 32 voters, not 33", "cluster", "replicas", "33");
        await cli.DoneAsync("cluster", "replicas", "3");
        await brokers.UntilAllVoteAsync([1, 2, 3, 4], 3);
        Assert.True((await brokers.DescribeAsync(1))!.OnlyVotersKeepRecords);
        await cli.DoneAsync("cluster", "voters", "3");
        await Scenarios.Brokers.UntilAsync(
            async () => await brokers.DescribeAsync(1) is { ShardVoters: 3, OnlyVotersKeepRecords: false },
            () => "three vote, and all keep everything");
        await cli.DoneAsync("cluster", "voters", "0");
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        await cli.FailsAsync(2, "say --yes", "cluster", "remove", "4");
        await cli.DoneAsync("cluster", "remove", "4", "--yes");
        await brokers.HaveMembersAsync([1, 2, 3], [1, 2, 3]);
        await cli.FailsAsync(3, "9", "cluster", "drain", "9");
    }

    [Fact]
    public async Task Loads_are_measured_and_everything_is_shown_at_once()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        using var cli = Cli(brokers);
        var report = await cli.JsonAsync(
            "bench", "pub", "load", "--messages", "500", "--clients", "2", "--size", "1KiB");
        Assert.Equal(500, (int)report["messages"]!);
        Assert.True((double)report["messages_per_second"]! > 0 && report["latency_p50_ms"] is not null);
        Assert.Equal(500, (int)(await cli.JsonAsync("bench", "sub", "load", "--messages", "500"))["messages"]!);
        report = await cli.JsonAsync("bench", "e2e", "steady", "--messages", "100", "--rate", "200");
        Assert.Equal(100, (int)report["messages"]!);
        Assert.NotNull(report["latency_p99_ms"]);

        await cli.DoneAsync("group", "create", "g", "load");
        using var load = cli.Start("bench", "e2e", "steady", "--messages", "20000", "--rate", "200");
        await Eventually.HoldsAsync(
            async () =>
            {
                var top = await cli.JsonAsync("top", "--once", "--interval", "500ms");
                Assert.Equal(3, ((JsonArray)top["nodes"]!).Count);
                Assert.Equal(500, (int)top["groups"]![0]!["lag"]!);
                return (string)top["topics"]![0]!["topic"]! == "steady"
                    && (double)top["topics"]![0]!["messages_per_second"]! > 0;
            },
            () => "the load is seen",
            60);
        load.Kill();
        var people = await cli.DoneAsync("top", "--once", "--interval", "100ms", "-o", "table");
        Assert.Contains("Shards:", people, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Contexts_stand_for_addresses()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        using var cli = new CommandLineRun();
        var address = $"http://{brokers.Channels[0].Target}";
        Assert.Equal("here\n", await cli.DoneAsync("context", "add", "here", address));
        Assert.Equal("nowhere\n", await cli.DoneAsync("context", "add", "nowhere", "127.0.0.1:1"));
        Assert.Equal(
            $"here\tno\t{address}\nnowhere\tyes\thttp://127.0.0.1:1\n", await cli.DoneAsync("context", "list"));
        await cli.FailsAsync(4, "127.0.0.1:1", "topic", "list", "--timeout", "500ms");
        Assert.Equal("", await cli.DoneAsync("topic", "list", "--context", "here"));
        Assert.Equal("", await cli.DoneAsync("topic", "list", "--server", address));
        await cli.DoneAsync("context", "use", "here");
        Assert.Equal("", await cli.DoneAsync("topic", "list"));
        await cli.FailsAsync(2, "there is here, nowhere", "topic", "list", "--context", "elsewhere");
        await cli.DoneAsync("context", "remove", "nowhere");
        await cli.FailsAsync(2, "no context 'nowhere'", "context", "use", "nowhere");
        await cli.FailsAsync(2, "'ftp://x'", "context", "add", "bad", "ftp://x");
        await File.WriteAllTextAsync(Path.Combine(cli.Home, "broker-aspire", "contexts.json"), "{", Test);
        await cli.FailsAsync(2, "Mend or delete it", "topic", "list");
    }

    [Fact]
    public async Task Wrong_commands_say_what_to_do()
    {
        using var cli = new CommandLineRun(new Uri("http://127.0.0.1:1"));
        await cli.FailsAsync(2, "'pubb' is not known here.\nTry 'broker --help'.", "pubb");
        await cli.FailsAsync(2, "Try 'broker topic --help'.", "topic");
        await cli.FailsAsync(2, "Try 'broker read --help'.", "read");
        await cli.FailsAsync(2, "count is '2'; expected a whole number from 3.", "cluster", "replicas", "2");
        await cli.FailsAsync(2, "from 3 to 2147483647.", "cluster", "replicas", "3000000000");
        await cli.FailsAsync(2, "--from is '-1'; expected a whole number from 0.", "read", "a", "--from", "-1");
        await cli.FailsAsync(2, "expected a time as", "read", "a", "--since", "soon");
        await cli.FailsAsync(2, "--since and --last", "read", "a", "--since", "1h", "--last", "1");
        await cli.FailsAsync(2, "expected a duration", "pub", "a", "x", "--ttl", "long");
        await cli.FailsAsync(2, "expected a whole number from 0 to 9", "pub", "a", "x", "--priority", "10");
        await cli.FailsAsync(2, "expected name:value", "pub", "a", "x", "-H", "name");
        await cli.FailsAsync(2, "comes from one place", "pub", "a", "x", "--lines");
        await cli.FailsAsync(2, "Could not find file", "pub", "a", "--file", "/nonexistent");
        await cli.FailsAsync(2, "expected bytes as", "topic", "create", "a", "--max-bytes", "much");
        await cli.FailsAsync(2, "expected table, plain or json", "topic", "list", "-o", "xml");
        await cli.FailsAsync(2, "expected ack, nack or nothing", "group", "consume", "g", "--then", "eat");
        await cli.FailsAsync(2, "topic name has a space", "pub", "a b", "x");
        await cli.FailsAsync(4, "that --server names", "topic", "list", "--timeout", "500ms");
        var (code, output, error) = await cli.RunAsync(["topic", "list", "--timeout", "500ms", "-o", "json"], null);
        Assert.Equal((4, ""), (code, output));
        Assert.Equal(4, (int)JsonNode.Parse(error)!["exit_code"]!);

        Assert.DoesNotContain("'hello' --key", await cli.DoneAsync("--help"), StringComparison.Ordinal);
        foreach (var (words, arguments) in new (string, string[])[]
        {
            ("Examples:\n  broker pub", ["pub", "--help"]),
            ("topic\n", ["[suggest:9]", "broker to"]),
            ("complete -o default -F _broker broker", ["completion", "bash"]),
            ("#compdef broker", ["completion", "zsh"]),
            ("Register-ArgumentCompleter", ["completion", "pwsh"]),
        })
        {
            Assert.Contains(words, await cli.DoneAsync(arguments), StringComparison.Ordinal);
        }

        await cli.FailsAsync(2, "fish", "completion", "fish");
    }

    private static CommandLineRun Cli(BrokerProcesses brokers) =>
        new([.. brokers.Channels.Select(static channel => new Uri($"http://{channel.Target}"))]);

    private static async Task<int> LeaderAsync(CommandLineRun cli) =>
        (int?)(await cli.JsonAsync("cluster", "status"))["shards"]![1]!["leader"] ?? 0;

    private static (string?, int, int) Place(JsonNode record) =>
        ((string?)record["topic"], (int)record["offset"]!, (int)record["deliveries"]!);

    private static string Timeless(string text) => Times().Replace(text, "T");

    [GeneratedRegex(@"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z")]
    private static partial Regex Times();

    [GeneratedRegex(@"^((?:a|b\.c) +)[1-9][0-9]*", RegexOptions.Multiline)]
    private static partial Regex Shards();
}
