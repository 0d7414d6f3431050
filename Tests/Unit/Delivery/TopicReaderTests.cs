using System.Buffers;
using Broker.Delivery;
using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Delivery;

public sealed class TopicReaderTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly Entries _entries = new();
    private readonly List<LogEntry> _log = [];
    private readonly TailSignal _signal = new();
    private readonly TopicStateMachine _machine;
    private readonly TopicReader _reader;
    private int _reads;
    private int _entriesRead;
    private Action? _beforeRead;
    private LogIndex? _damaged;

    public TopicReaderTests()
    {
        _machine = new TopicStateMachine(new ShardDelivery(new GroupId(1), _signal, null));
        _reader = new TopicReader(_machine, _signal, ReadEntries);
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_batch_comes_once_in_order_with_its_own_bytes()
    {
        Apply(_entries.Of(
            Entries.PublishCommand("a", Entries.Batch(2), 2),
            Entries.PublishCommand("b", Entries.Batch(9), 9),
            Entries.PublishCommand("a", Entries.Batch(1))));
        Publish("b", 1);
        Publish("a", 4);

        var page = Assert.Single(await ReadAllAsync("a", 0));
        Assert.Equal(
            [(0L, 2, 1_010L), (2L, 1, 1_010L), (3L, 4, 1_030L)],
            page.Batches.Select(each => (each.BaseOffset, each.Count, each.TimestampUnixMs)));
        Assert.All(page.Batches, batch => Assert.Equal(Entries.Batch(batch.Count), batch.Batch.ToArray()));
        Assert.Equal((7L, 7L), (page.NextOffset, page.HighWatermark));
    }

    [Fact]
    public async Task A_read_begins_with_the_batch_that_holds_the_offset()
    {
        Publish("a", 3);
        Publish("a", 3);
        Assert.Equal(3, (await ReadAllAsync("a", 4))[0].Batches[0].BaseOffset);
        Assert.Empty(await ReadAllAsync("a", 6));
    }

    [Fact]
    public async Task Entries_of_other_topics_are_not_read()
    {
        Publish("a", 1);
        for (var i = 0; i < 50; i++)
        {
            Publish("b", 1);
        }

        Publish("a", 1);
        Publish("a", 1);
        await ReadAllAsync("a", 0);
        Assert.Equal((2, 3), (_reads, _entriesRead));
    }

    [Fact]
    public async Task Pages_are_bounded_by_the_batches_bytes()
    {
        var batch = new byte[300 * 1024];
        for (var i = 0; i < 10; i++)
        {
            Apply(_entries.Of(Entries.PublishCommand("a", batch)));
        }

        var pages = await ReadAllAsync("a", 0);
        Assert.Equal([3, 3, 3, 1], pages.Select(page => page.Batches.Count));
        Assert.Equal([3L, 6L, 9L, 10L], pages.Select(page => page.NextOffset));
    }

    [Fact]
    public async Task Pages_are_bounded_by_the_entries_that_they_hold_on_to()
    {
        for (var i = 0; i < 10; i++)
        {
            Apply(_entries.Of(
                Entries.PublishCommand("a", [0x0A, 0x00]), Entries.PublishCommand("b", new byte[600 * 1024])));
        }

        var pages = await ReadAllAsync("a", 0);
        Assert.All(pages, page => Assert.InRange(page.Batches.Count, 1, 2));
        Assert.Equal(10, pages[^1].NextOffset);
    }

    [Fact]
    public async Task A_batch_larger_than_a_page_comes_alone()
    {
        Publish("a", 1);
        Apply(_entries.Of(Entries.PublishCommand("a", new byte[Limits.BatchBytes])));
        Publish("a", 1);
        Assert.Equal([1, 1, 1], (await ReadAllAsync("a", 0)).Select(page => page.Batches.Count));
    }

    [Fact]
    public async Task A_read_ends_at_the_end_that_it_found_though_the_topic_grows()
    {
        Publish("a", 2);
        var batches = 0;
        await foreach (var page in _reader.ReadAsync("a", 0, follow: false, Stop))
        {
            batches += page.Batches.Count;
            Publish("a", 1);
        }

        Assert.Equal(1, batches);
    }

    [Fact]
    public async Task Following_waits_for_more_and_for_the_topic_itself()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        await using var pages = _reader.ReadAsync("a", 0, follow: true, stop.Token).GetAsyncEnumerator(stop.Token);
        for (var i = 0; i < 3; i++)
        {
            var next = pages.MoveNextAsync().AsTask();
            Assert.False(next.IsCompleted);
            Publish("b", 1);
            Publish("a", 1);
            Assert.True(await next.WaitAsync(Deadline, Stop));
            Assert.Equal((i + 1, i + 1), (pages.Current.NextOffset, pages.Current.HighWatermark));
        }

        var last = pages.MoveNextAsync().AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => last);
        await pages.DisposeAsync();
        Assert.Equal(0, _signal.Count);
    }

    [Fact]
    public async Task Following_from_beyond_the_end_begins_there()
    {
        Publish("a", 1);
        await using var pages = _reader.ReadAsync("a", 3, follow: true, Stop).GetAsyncEnumerator(Stop);
        var next = pages.MoveNextAsync().AsTask();
        Publish("a", 1);
        Publish("a", 1);
        Assert.False(next.IsCompleted);
        Publish("a", 1);
        Assert.True(await next.WaitAsync(Deadline, Stop));
        Assert.Equal(3, pages.Current.Batches[0].BaseOffset);
    }

    [Theory]
    [InlineData("nothing", 0, RefusalCode.NotFound)]
    [InlineData("a", 2, RefusalCode.OutOfRange)]
    [InlineData("a", -1, RefusalCode.InvalidArgument)]
    public async Task Wrong_reads_are_refused(string topic, long offset, RefusalCode code)
    {
        Publish("a", 1);
        var refusal = await Assert.ThrowsAsync<BrokerException>(() => ReadAllAsync(topic, offset));
        Assert.Equal(code, refusal.Code);
    }

    [Fact]
    public async Task Records_that_the_log_cannot_give_now_are_refused()
    {
        Publish("a", 1);
        _log.Clear();
        var refusal = await Assert.ThrowsAsync<BrokerException>(() => ReadAllAsync("a", 0));
        Assert.Equal(RefusalCode.ReadElsewhere, refusal.Code);
    }

    [Fact]
    public async Task A_read_from_before_the_first_kept_record_goes_on_with_it()
    {
        Publish("a", 3);
        Publish("a", 3);
        Purge("a", 3);
        foreach (var offset in (long[])[0, 2, 3])
        {
            var page = Assert.Single(await ReadAllAsync("a", offset));
            Assert.Equal((3L, 3), (page.Batches[0].BaseOffset, page.Batches[0].Count));
        }

        Purge("a", 6);
        Assert.Empty(await ReadAllAsync("a", 0));
        Assert.Equal(RefusalCode.OutOfRange, (await Refused(() => ReadAllAsync("a", 7))).Code);
    }

    [Fact]
    public async Task A_batch_that_is_purged_in_part_comes_without_its_purged_records()
    {
        // The second field is one that this version does not know; it may stand anywhere.
        byte[] batch = [0x0A, 0x02, 0x12, 0x00, 0x10, 0x07, 0x0A, 0x00, 0x0A, 0x03, 0x12, 0x01, 0x78];
        Apply(_entries.Of(Entries.PublishCommand("a", batch, 3)));
        Publish("a", 1);
        Purge("a", 1);
        Assert.Equal((1L, 2, "10070A000A03120178"), Show(Assert.Single(await ReadAllAsync("a", 0)).Batches[0]));
        Purge("a", 2);
        Assert.Equal((2L, 1, "0A03120178"), Show(Assert.Single(await ReadAllAsync("a", 1)).Batches[0]));
        Assert.Equal((3L, 1, "0A00"), Show(Assert.Single(await ReadAllAsync("a", 3)).Batches[0]));

        static (long, int, string) Show(CommittedBatch batch) =>
            (batch.BaseOffset, batch.Count, Convert.ToHexString(batch.Batch.Span));
    }

    [Fact]
    public async Task A_reader_that_follows_a_purged_topic_waits_for_the_next_record()
    {
        Publish("a", 3);
        Purge("a", 3);
        await using var pages = _reader.ReadAsync("a", 0, follow: true, Stop).GetAsyncEnumerator(Stop);
        var next = pages.MoveNextAsync().AsTask();
        Assert.False(next.IsCompleted);
        Publish("a", 1);
        Assert.True(await next.WaitAsync(Deadline, Stop));
        Assert.Equal(3, pages.Current.Batches[0].BaseOffset);
    }

    [Fact]
    public async Task Records_that_are_purged_while_they_are_read_are_passed_over()
    {
        Publish("a", 1);
        Publish("a", 1);
        _beforeRead = () =>
        {
            _beforeRead = null;
            Purge("a", 1);
            _log.RemoveAt(0);
        };
        var page = Assert.Single(await ReadAllAsync("a", 0));
        Assert.Equal(1, page.Batches[0].BaseOffset);
    }

    [Fact]
    public async Task Records_in_a_damaged_segment_are_refused_and_those_before_it_come()
    {
        Publish("a", 1);
        Publish("b", 1);
        Publish("a", 1);
        _damaged = new LogIndex(3);
        await using var pages = _reader.ReadAsync("a", 0, follow: false, Stop).GetAsyncEnumerator(Stop);
        Assert.True(await pages.MoveNextAsync());
        Assert.Equal(1, pages.Current.NextOffset);
        var refusal = await Refused(async () => await pages.MoveNextAsync());
        Assert.Equal(RefusalCode.ReadElsewhere, refusal.Code);
        Assert.Contains("another replica", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Records_that_no_replica_can_read_are_told_apart_with_the_offset_to_go_on_at()
    {
        var reader = new TopicReader(_machine, _signal, ReadEntries)
        {
            LostThrough = index => index.Value is 3 or 4 ? new LogIndex(4) : LogIndex.None,
        };
        Publish("a", 1);
        Publish("b", 1);
        Publish("a", 2);
        Publish("a", 3);
        Publish("a", 1);
        _damaged = new LogIndex(3);
        await using var pages = reader.ReadAsync("a", 1, follow: false, Stop).GetAsyncEnumerator(Stop);
        var refusal = await Refused(async () => await pages.MoveNextAsync());
        Assert.Equal(RefusalCode.DataLost, refusal.Code);
        Assert.Contains("Offsets 1 to 5", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("Go on at offset 6", refusal.Message, StringComparison.Ordinal);

        await using var behind = reader.ReadAsync("a", 6, follow: false, Stop).GetAsyncEnumerator(Stop);
        Assert.True(await behind.MoveNextAsync());
    }

    [Fact]
    public async Task Records_whose_index_file_is_gone_are_refused()
    {
        Publish("a", 1);
        var folder = new IndexFolder();
        folder.Seal(_machine, 1, 1);
        Assert.Equal(RefusalCode.ReadElsewhere, (await Refused(() => ReadAllAsync("a", 0))).Code);
        _machine.AttachIndexes(folder.Read);
        Assert.Single(await ReadAllAsync("a", 0));
    }

    [Fact]
    public async Task A_reader_that_waits_hears_of_a_snapshot_with_more_records()
    {
        Publish("a", 1);
        var ahead = new TopicStateMachine(new NoSink());
        ahead.Apply(_log[0], []);
        ahead.Apply(new Entries(1).Purge("a"), []);
        ahead.Apply(new Entries(2).Publish("a", 4), []);
        var snapshot = new ArrayBufferWriter<byte>();
        ahead.WriteSnapshot(snapshot);

        await using var pages = _reader.ReadAsync("a", 1, follow: true, Stop).GetAsyncEnumerator(Stop);
        var next = pages.MoveNextAsync().AsTask();
        Assert.False(next.IsCompleted);
        _machine.Restore(snapshot.WrittenSpan);

        // This replica does not have the records; it says so, and the reader goes on elsewhere.
        var refusal = await Refused(() => next.WaitAsync(Deadline, Stop));
        Assert.Equal(RefusalCode.ReadElsewhere, refusal.Code);
    }

    private static Task<BrokerException> Refused(Func<Task> read) => Assert.ThrowsAsync<BrokerException>(read);

    private void Purge(string topic, long beforeOffset) => Apply(_entries.Purge(topic, beforeOffset));

    private void Publish(string topic, int records) => Apply(_entries.Publish(topic, records));

    private void Apply(LogEntry entry)
    {
        _log.Add(entry);
        _machine.Apply(entry, []);
    }

    private async Task<List<ReadPage>> ReadAllAsync(string topic, long offset)
    {
        var pages = new List<ReadPage>();
        await foreach (var page in _reader.ReadAsync(topic, offset, follow: false, Stop))
        {
            pages.Add(page);
        }

        return pages;
    }

    /// <summary>As a group's log reads: at least one entry, then while they fit.</summary>
    private int ReadEntries(LogIndex first, LogIndex last, int maxBytes, ICollection<LogEntry> into)
    {
        _beforeRead?.Invoke();
        _reads++;
        if (first == _damaged)
        {
            throw new StorageCorruptException("1.log", 4096, "an entry");
        }

        var count = 0;
        foreach (var entry in _log.Where(each => each.Index >= first && each.Index <= last))
        {
            maxBytes -= entry.SizeBytes;
            if (entry.Index != first + count || (count > 0 && maxBytes < 0))
            {
                break;
            }

            into.Add(entry);
            count++;
        }

        _entriesRead += count;
        return count;
    }
}
