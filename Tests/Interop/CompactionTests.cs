using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Topics that keep the last record of each key, as foreign clients and the .NET client see them.</summary>
public sealed class CompactionTests
{
    private const int SegmentBytes = 64 * 1024;

    private static readonly (string Key, string Value)[] Settings = [("Broker__SegmentBytes", $"{SegmentBytes}")];

    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Its_settings_are_taken_shown_and_checked()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        var made = await admin.CreateTopicAsync(
            new CreateTopicRequest
            {
                Name = "a",
                Config = new TopicConfig { Compact = true, CompactAfterMs = 5, MaxRecords = 0 },
            },
            cancellationToken: Test);
        Assert.Equal(
            (true, 5UL, 86_400_000UL, 0UL),
            (made.Config.Compact, made.Config.CompactAfterMs, made.Config.DeleteMarkerMs, made.Config.MaxRecords));
        var found = await admin.DescribeTopicAsync(new DescribeTopicRequest { Name = "a" }, cancellationToken: Test);
        Assert.Equal(made.Config, found.Config);
        var changed = await admin.UpdateTopicAsync(
            new UpdateTopicRequest { Name = "a", Config = new TopicConfig { DeleteMarkerMs = 0 } },
            cancellationToken: Test);
        Assert.Equal(
            (true, 5UL, 0UL),
            (changed.Config.Compact, changed.Config.CompactAfterMs, changed.Config.DeleteMarkerMs));

        // What can never come about is refused, in one request and against what is there.
        await RefusedAsync("compact_after_ms", admin.CreateTopicAsync(
            new CreateTopicRequest
            {
                Name = "b",
                Config = new TopicConfig { Compact = true, CompactAfterMs = 5, MaxAgeMs = 5 },
            },
            cancellationToken: Test).ResponseAsync);
        await RefusedAsync("compact_after_ms", admin.UpdateTopicAsync(
            new UpdateTopicRequest { Name = "a", Config = new TopicConfig { MaxAgeMs = 4 } },
            cancellationToken: Test).ResponseAsync);
        await RefusedAsync("delete_marker_ms", admin.CreateTopicAsync(
            new CreateTopicRequest { Name = "b", Config = new TopicConfig { DeleteMarkerMs = ulong.MaxValue } },
            cancellationToken: Test).ResponseAsync);
        Assert.Single((await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics);
        var info = await admin.GetServerInfoAsync(new GetServerInfoRequest(), cancellationToken: Test);
        Assert.Contains("compaction", info.Features);
        Assert.Contains("read-last-per-key", info.Features);
    }

    [Fact]
    public async Task The_last_record_of_each_key_is_read_with_its_own_offset_and_then_what_comes()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        await broker.PublishAsync(
            Batch("a", ("k1", "1"), ("k2", "2"), ("", "3"), ("k1", "4")), cancellationToken: Test);
        await broker.PublishAsync(Batch("a", ("k2", ""), ("k3", "5"), ("k3", "6")), cancellationToken: Test);
        foreach (var channel in brokers.Channels)
        {
            var any = new Protocol.V1.Broker.BrokerClient(channel);
            using var call = any.Read(Last("a"), cancellationToken: Test);
            Assert.Equal(["2  3", "3 k1 4", "4 k2 ", "6 k3 6"], await TakeAsync(call, 4));
            Assert.False(await call.ResponseStream.MoveNext(Test));
        }

        using var follow = broker.Read(Last("a", follow: true), cancellationToken: Test);
        Assert.Equal(4, (await TakeAsync(follow, 4)).Count);
        await broker.PublishAsync(Batch("a", ("k1", "7"), ("k1", "8")), cancellationToken: Test);
        Assert.Equal(["7 k1 7", "8 k1 8"], await TakeAsync(follow, 2));

        // Who follows may wait for the topic; who does not hears that there is none.
        using var early = broker.Read(Last("b", follow: true), cancellationToken: Test);
        await broker.PublishAsync(Batch("b", ("k", "1")), cancellationToken: Test);
        Assert.Equal(["0 k 1"], await TakeAsync(early, 1));
        using var none = broker.Read(Last("c"), cancellationToken: Test);
        var refusal = await Assert.ThrowsAsync<RpcException>(() => none.ResponseStream.MoveNext(Test));
        Assert.Equal(StatusCode.NotFound, refusal.StatusCode);
        using var subscription = broker.Subscribe(
            new SubscribeRequest { Filters = { "a" }, Position = StartPosition.LastPerKey }, cancellationToken: Test);
        refusal = await Assert.ThrowsAsync<RpcException>(() => subscription.ResponseStream.MoveNext(Test));
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
    }

    [Fact]
    public async Task Compacted_partitions_keep_every_last_value_and_give_space_back_while_brokers_are_killed()
    {
        const int Keys = 60;
        await using var brokers = new KilledBrokers();
        await StartAllAsync(brokers);
        await using var client = brokers.Connect(1, 2, 3);
        await client.CreateTopicAsync(
            "state", new TopicSettings { Partitions = 2, Compact = true, DeleteMarkerAge = TimeSpan.Zero }, Test);
        await client.CreateTopicAsync("other", new TopicSettings { MaxBytes = 100_000 }, Test);
        var last = new Dictionary<string, string>();
        for (var round = 0; round < 3; round++)
        {
            var victim = 1 + round;
            for (var i = 0; i < 400; i++)
            {
                if (i == 150)
                {
                    await brokers.KillAsync(victim);
                }

                var key = $"key {i % Keys}";
                last[key] = $"{round}.{i}";
                await client.PublishAsync("state", Message(key, $"{round}.{i}|{new string('x', 2_000)}"), Test);
                if (i % 10 == 0)
                {
                    await client.PublishAsync("other", Message("", new string('x', 5_000)), Test);
                }
            }

            brokers.Start(victim, Settings);
            await brokers.BecomesHealthyAsync(1, 2, 3);
        }

        foreach (var key in last.Keys.Where(static key => key.EndsWith('7')).ToList())
        {
            last.Remove(key);
            await client.PublishAsync("state", Message(key, ""), Test);
        }

        await CheckStateAsync(brokers, client, last);

        // New segments come, and older ones give back what is gone, one a second: 3 MB were published.
        await Eventually.HoldsAsync(
            async () =>
            {
                await client.PublishAsync("other", Message("", new string('x', 20_000)), Test);
                await Task.Delay(1_000, Test);
                return Enumerable.Range(1, 3).All(node => SizeOf(brokers, node) < 1_000_000);
            },
            () => string.Join(", ", Enumerable.Range(1, 3).Select(node => $"{SizeOf(brokers, node):N0}")) + " bytes",
            150);
        await CheckStateAsync(brokers, client, last);
        for (var node = 1; node <= 3; node++)
        {
            await brokers.KillAsync(node);
        }

        await StartAllAsync(brokers);
        await CheckStateAsync(brokers, client, last);
    }

    [Fact]
    public async Task A_topic_of_which_all_keys_were_deleted_becomes_empty_and_reads_of_it_end()
    {
        await using var brokers = await BrokerProcesses.StartAsync(
            1, static _ => [$"--Broker:SegmentBytes={SegmentBytes}", "--Broker:DataShards=1"]);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync(
            "a", new TopicSettings { Compact = true, DeleteMarkerAge = TimeSpan.Zero }, Test);
        await client.CreateTopicAsync("filler", new TopicSettings { MaxBytes = 100_000 }, Test);
        foreach (var (key, value) in new[] { ("k1", "1"), ("k1", ""), ("k2", "2"), ("k2", "") })
        {
            await client.PublishAsync("a", Message(key, value), Test);
        }

        Assert.DoesNotContain(
            await ReadAsync(client, "a", new ReadOptions { LastPerKey = true }),
            static record => record.Value.Length > 0);
        await Eventually.HoldsAsync(
            async () =>
            {
                await client.PublishAsync("filler", Message("", new string('x', 60_000)), Test);
                return (await ReadAsync(client, "a", new ReadOptions())).Count == 0;
            },
            () => "nothing is left to be read",
            90);
        Assert.Empty(await ReadAsync(client, "a", new ReadOptions { LastPerKey = true }));
        Assert.Empty(await ReadAsync(client, "a", new ReadOptions { FromOffset = 2 }));
        var heard = new Heard();
        Assert.Empty(await ReadAsync(client, "a", new ReadOptions { Progress = heard }));
        Assert.Equal(4, heard.Offset);

        // Offsets go on, and who follows steps over what is gone.
        var ack = await client.PublishAsync("a", Message("k1", "3"), Test);
        Assert.Equal(4, ack.Offset);
        Assert.Equal(4, Assert.Single(await ReadAsync(client, "a", new ReadOptions { Follow = true, MaxRecords = 1 }))
            .Offset);
        await using var again = await client.SubscribeAsync(["a"], new SubscribeOptions { FromBeginning = true }, Test);
        await foreach (var record in again)
        {
            Assert.Equal(4, record.Offset);
            break;
        }
    }

    private static async Task StartAllAsync(KilledBrokers brokers)
    {
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Start(node, Settings);
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
    }

    /// <summary>On every node, whichever way it is read, the last value of every key is what was published.</summary>
    private static async Task CheckStateAsync(
        KilledBrokers brokers, BrokerClient client, Dictionary<string, string> last)
    {
        await client.DescribeTopicAsync("state", Test);
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            await using var one = brokers.Connect(node);
            var (all, lasts) = (new Dictionary<string, string>(), new Dictionary<string, string>());
            for (var partition = 0; partition < 2; partition++)
            {
                Fold(all, await ReadAsync(
                    one, "state", new ReadOptions { Partition = partition, Linearizable = true }));
                var read = await ReadAsync(one, "state", new ReadOptions { Partition = partition, LastPerKey = true });
                Assert.Distinct(read.Select(KeyOf));
                Fold(lasts, read);
            }

            Assert.Equal(Sorted(last), Sorted(lasts));
            Assert.Equal(Sorted(last), Sorted(all));
        }
    }

    private static void Fold(Dictionary<string, string> into, List<BrokerRecord> records)
    {
        foreach (var record in records)
        {
            if (record.Value.IsEmpty)
            {
                into.Remove(KeyOf(record));
            }
            else
            {
                into[KeyOf(record)] = Encoding.UTF8.GetString(record.Value.Span).Split('|')[0];
            }
        }
    }

    private static List<string> Sorted(Dictionary<string, string> values) =>
        [.. values.Select(static pair => $"{pair.Key}: {pair.Value}").Order(StringComparer.Ordinal)];

    private static string KeyOf(BrokerRecord record) => Encoding.UTF8.GetString(record.Key.Span);

    private static async Task<List<BrokerRecord>> ReadAsync(BrokerClient client, string topic, ReadOptions options)
    {
        var records = new List<BrokerRecord>();
        await foreach (var record in client.ReadAsync(topic, options, Test))
        {
            records.Add(record);
        }

        return records;
    }

    private static ReadRequest Last(string topic, bool follow = false) =>
        new() { Topic = topic, Position = StartPosition.LastPerKey, Follow = follow };

    private static async Task<List<string>> TakeAsync(AsyncServerStreamingCall<ReadResponse> call, int count)
    {
        var records = new List<string>();
        while (records.Count < count && await call.ResponseStream.MoveNext(Test))
        {
            foreach (var batch in call.ResponseStream.Current.Batches)
            {
                Assert.Equal(batch.Count, (uint)batch.Batch.Records.Count);
                records.AddRange(batch.Batch.Records.Select((record, i) =>
                    $"{batch.BaseOffset + i} {record.Key.ToStringUtf8()} {record.Value.ToStringUtf8()}"));
            }
        }

        return records;
    }

    private static PublishRequest Batch(string topic, params (string Key, string Value)[] records)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(records.Select(static each => new Record
        {
            Key = ByteString.CopyFromUtf8(each.Key),
            Value = ByteString.CopyFromUtf8(each.Value),
        }));
        return new PublishRequest { Topic = topic, Batch = batch };
    }

    private static BrokerMessage Message(string key, string value) =>
        new() { Key = Encoding.UTF8.GetBytes(key), Value = Encoding.UTF8.GetBytes(value) };

    private static long SizeOf(KilledBrokers brokers, int node) =>
        new DirectoryInfo(Path.Combine(brokers.FolderOf(node), $"group-000{KilledBrokers.TopicGroup}"))
            .GetFiles("*.log")
            .Sum(static file => file.Exists ? file.Length : 0);

    private static Task<RpcException> RefusedAsync<T>(string sentence, Task<T> call) =>
        ForeignCalls.RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", sentence, () => call);

    private sealed class Heard : IProgress<long>
    {
        public long Offset { get; private set; }

        public void Report(long value) => Offset = value;
    }
}
