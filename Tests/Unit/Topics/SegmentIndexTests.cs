using System.Buffers;
using Broker.Domain;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class SegmentIndexTests
{
    private readonly Entries _entries = new();
    private readonly IndexFolder _folder = new();

    [Fact]
    public void An_index_has_the_documented_bytes()
    {
        var machine = NewMachine();
        Apply(machine, "a", "b", "c", "d");
        machine.Apply(_entries.Publish("d", 6), []);
        machine.Apply(_entries.Raw(0, []), []);
        machine.Apply(_entries.Raw(0, []), []);
        var entry = _entries.Publish("d", 2);
        machine.Apply(entry, []);
        _folder.Write(machine, 6, 8);
        Assert.Equal(
            "03010000" + "01000000" + "03000000" + "01000000" + "0700000000000000" + "0900000000000000"
            + "0400000000000000" + "3804000000000000",
            Convert.ToHexString(_folder.Directory(6)));
        Assert.Equal(
            "0700000000000000" + "3804000000000000" + "02000000" + "02000000" + "1F000000" + "04000000",
            Convert.ToHexString(_folder.Body(6)));
        Assert.Equal("0A000A00", Convert.ToHexString(entry.Body.Span[0x1F..0x23]));
    }

    [Theory]
    [InlineData(1, 10, 40)]
    [InlineData(2, 1, 400)]
    [InlineData(3, 60, 7)]
    public void What_an_index_says_is_what_memory_said(int seed, int topics, int entriesPerSegment)
    {
        var random = new Random(seed);
        var (indexed, inMemory) = (NewMachine(), NewMachine());
        var first = 1L;
        for (var segment = 0; segment < 8; segment++)
        {
            var last = first + random.Next(1, entriesPerSegment * 2);
            for (var i = first; i <= last; i++)
            {
                var entry = _entries.Of([.. Enumerable.Range(0, random.Next(4)).Select(_ => Publish(random, topics))]);
                indexed.Apply(entry, []);
                inMemory.Apply(entry, []);
            }

            if (segment < 7)
            {
                _folder.Seal(indexed, first, last);
            }

            first = last + 1;
        }

        Assert.Equal(inMemory.TopicCount, indexed.TopicCount);
        foreach (var topic in inMemory.ListTopics())
        {
            Assert.True(indexed.TryGetTopic(topic.Name, out var other));
            var all = Located.From(topic, 0);
            Assert.Equal(all, Located.From(other, 0));
            Assert.Equal(topic.NextOffset, all[^1].EndOffset);
            for (var offset = 0; offset < topic.NextOffset; offset += random.Next(1, 9))
            {
                Assert.Equal(Located.At(topic, offset), Located.At(other, offset));
            }
        }

        Assert.True(_folder.Reads > 0, "nothing was looked up in an index file");
        Assert.InRange(_folder.LargestReadBytes, 1, 4096);
    }

    [Fact]
    public void A_search_in_a_large_index_reads_few_pieces()
    {
        var machine = NewMachine();
        for (var i = 0; i < 60_000; i++)
        {
            machine.Apply(_entries.Publish("a"), []);
        }

        _folder.Seal(machine, 1, 60_000);
        Assert.True(machine.TryGetTopic("a", out var topic));
        for (var offset = 0; offset < 60_000; offset += 997)
        {
            var before = _folder.Reads;
            Assert.Equal(offset, Located.At(topic, offset)!.Value.BaseOffset);
            Assert.InRange(_folder.Reads - before, 1, 10);
        }
    }

    [Fact]
    public void A_search_keeps_to_its_end_and_its_size()
    {
        var machine = NewMachine();
        Enumerable.Range(0, 30).ToList().ForEach(_ => machine.Apply(_entries.Publish("a", 5), []));
        Assert.True(machine.TryGetTopic("a", out var topic));
        var inMemory = Look();
        _folder.Seal(machine, 1, 15);
        Assert.Equal(inMemory, Look());
        _folder.Seal(machine, 16, 30);
        Assert.Equal(inMemory, Look());
        Assert.Equal([1, 1, 2, 3, 30, 14], inMemory.Select(each => each.Count));

        List<List<BatchLocation>> Look() =>
        [
            .. from wanted in ((long Offset, long End, int Bytes)[])
               [(0, 150, 1), (149, 150, 1), (70, 150, 20), (70, 85, 1_000), (0, 150, 300), (80, 150, 149)]
               select Find(wanted.Offset, wanted.End, wanted.Bytes),
        ];

        List<BatchLocation> Find(long offset, long end, int bytes)
        {
            var found = new List<BatchLocation>();
            Assert.True(topic.TryLocate(offset, end, bytes, found, out _));
            return found;
        }
    }

    [Fact]
    public void A_restarted_replica_looks_up_in_the_index_files_that_it_finds()
    {
        var before = NewMachine();
        var log = Enumerable.Range(0, 90).Select(i => _entries.Publish($"t{i % 4}", (i % 3) + 1)).ToList();
        log.Take(60).ToList().ForEach(entry => before.Apply(entry, []));
        var snapshot = new ArrayBufferWriter<byte>();
        before.WriteSnapshot(snapshot);
        log.Skip(60).ToList().ForEach(entry => before.Apply(entry, []));
        _folder.Write(before, 1, 30);
        _folder.Write(before, 31, 60);

        var after = NewMachine();
        after.Restore(snapshot.WrittenSpan);
        Assert.Equal(new LogIndex(1), after.FirstNeeded);
        _folder.Use(after, 1);
        _folder.Use(after, 31);
        Assert.Equal(new LogIndex(1), after.FirstNeeded);
        log.Skip(60).ToList().ForEach(entry => after.Apply(entry, []));
        foreach (var topic in before.ListTopics())
        {
            Assert.True(after.TryGetTopic(topic.Name, out var other));
            Assert.Equal(Located.From(topic, 0), Located.From(other, 0));
        }

        // A segment that was applied anew can be indexed, one that came with the snapshot cannot.
        var writer = new ArrayBufferWriter<byte>();
        Assert.False(after.TryWriteIndex(new LogIndex(31), new LogIndex(60), writer, writer));
        _folder.Seal(after, 61, 90);
        Assert.False(after.TryWriteIndex(new LogIndex(61), new LogIndex(90), writer, writer));
        Assert.Equal(0, writer.WrittenCount);
    }

    [Fact]
    public void Of_a_segment_within_which_a_snapshot_was_restored_the_index_names_the_rest()
    {
        var before = NewMachine();
        var log = Enumerable.Range(0, 60).Select(i => _entries.Publish($"t{i % 4}", (i % 3) + 1)).ToList();
        log.Take(40).ToList().ForEach(entry => before.Apply(entry, []));
        var snapshot = new ArrayBufferWriter<byte>();
        before.WriteSnapshot(snapshot);
        log.Skip(40).ToList().ForEach(entry => before.Apply(entry, []));

        var after = NewMachine();
        after.Restore(snapshot.WrittenSpan);
        log.Skip(40).ToList().ForEach(entry => after.Apply(entry, []));
        _folder.Seal(after, 31, 60);
        foreach (var topic in before.ListTopics())
        {
            Assert.True(after.TryGetTopic(topic.Name, out var other));
            var rest = Located.From(topic, 0).Where(batch => batch.LogIndex > new LogIndex(40)).ToList();
            Assert.NotEmpty(rest);
            Assert.Equal(rest, Located.From(other, rest[0].BaseOffset));
        }
    }

    [Fact]
    public void A_lost_index_file_hides_its_own_batches_alone()
    {
        var machine = NewMachine();
        Enumerable.Range(0, 30).ToList().ForEach(_ => machine.Apply(_entries.Publish("a"), []));
        _folder.Seal(machine, 1, 10);
        _folder.Seal(machine, 11, 20);
        _folder.Delete(11);
        Assert.True(machine.TryGetTopic("a", out var topic));
        Assert.Equal(10, Located.From(topic, 0).Count);
        Assert.Null(Located.At(topic, 10));
        Assert.Null(Located.At(topic, 19));
        Assert.Equal(10, Located.From(topic, 20).Count);
    }

    [Fact]
    public void A_body_that_contradicts_its_directory_gives_nothing()
    {
        var machine = NewMachine();
        Enumerable.Range(0, 10).ToList().ForEach(_ => machine.Apply(_entries.Publish("a", 3), []));
        _folder.Seal(machine, 1, 10);
        Assert.True(machine.TryGetTopic("a", out var topic));
        _folder.Body(1).AsSpan(5 * 32, 8).Fill(0x7F);
        Assert.Equal(5, Located.From(topic, 0).Count);
        Assert.Null(Located.At(topic, 15));
        _folder.Body(1).AsSpan().Clear();
        Assert.Null(Located.At(topic, 0));
    }

    [Fact]
    public void A_directory_that_is_not_of_this_state_changes_nothing()
    {
        var machine = NewMachine();
        Apply(machine, "a", "b", "a", "b");
        _folder.Write(machine, 1, 4);
        var good = _folder.Directory(1);
        for (var length = 0; length < good.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => Use(machine, good[..length]));
        }

        // Batches of one record each: only the whole topic, or its first one, can be a run here.
        for (var at = 0; at < good.Length; at++)
        {
            var bytes = good.ToArray();
            bytes[at] ^= 0x40;
            Assert.Throws<InvalidDataException>(() => Use(machine, bytes));
        }

        var older = NewMachine();
        Assert.Throws<InvalidDataException>(() => Use(older, good));
        Assert.True(machine.TryGetTopic("a", out var topic));
        Assert.Equal(2, Located.From(topic, 0).Count);
        Assert.Equal(0, _folder.Reads);
        Use(machine, good);
        Assert.Equal(2, Located.From(topic, 0).Count);
        Assert.True(_folder.Reads > 0);
    }

    [Fact]
    public void Using_an_index_twice_or_before_an_earlier_one_loses_no_batch()
    {
        var machine = NewMachine();
        Enumerable.Range(0, 30).ToList().ForEach(_ => machine.Apply(_entries.Publish("a"), []));
        _folder.Write(machine, 1, 10);
        _folder.Write(machine, 11, 20);
        Assert.True(machine.TryGetTopic("a", out var topic));
        foreach (var segment in (int[])[11, 11, 1, 11, 1])
        {
            _folder.Use(machine, segment);
            Assert.Equal(Enumerable.Range(0, 30), Located.From(topic, 0).Select(each => (int)each.BaseOffset));
        }
    }

    [Fact]
    public async Task Readers_miss_no_batch_while_segments_are_sealed_and_purged()
    {
        const int Segments = 40;
        const int PerSegment = 2_000;
        var machine = NewMachine();
        machine.Apply(_entries.Publish("a"), []);
        using var done = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 2)
            .Select(seed => Task.Run(() => ReadUntil(machine, seed, done.Token), TestContext.Current.CancellationToken))
            .ToArray();
        var first = 1L;
        for (var segment = 1; segment <= Segments; segment++)
        {
            for (var i = first == 1 ? 1 : 0; i < PerSegment; i++)
            {
                machine.Apply(_entries.Publish("a"), []);
            }

            _folder.Write(machine, first, first + PerSegment - 1);
            for (var i = 0; i < 50; i++)
            {
                machine.Apply(_entries.Publish("a"), []);
            }

            _folder.Use(machine, first);
            if (segment % 4 == 0)
            {
                machine.Apply(_entries.Purge("a", (segment * 1_000) + 7), []);
                machine.DropIndexes(new LogIndex(0));
            }

            first += PerSegment;
            while (machine.TryGetTopic("a", out var topic) && topic.LastTimestampUnixMs < 1_000 + ((first - 1) * 10))
            {
                machine.Apply(_entries.Publish("a"), []);
            }
        }

        await done.CancelAsync();
        Assert.All(await Task.WhenAll(readers), looks => Assert.True(looks > 0, "a reader saw nothing"));
    }

    /// <summary>The log is 1 publish an entry, besides some purges: offsets and entries go up together.</summary>
    private static long ReadUntil(TopicStateMachine machine, int seed, CancellationToken done)
    {
        var random = new Random(seed);
        var looks = 0L;
        var found = new List<BatchLocation>();
        while (!done.IsCancellationRequested || looks == 0)
        {
            Assert.True(machine.TryGetTopic("a", out var topic));
            var next = topic.NextOffset;
            var offset = looks % 2 == 0 ? next - 1 : random.NextInt64(next);
            found.Clear();
            Assert.True(topic.TryLocate(offset, next, 100, found, out var first), $"offset {offset} is not found");
            Assert.Equal(Math.Max(offset, first), found[0].BaseOffset);
            Assert.All(found.Index(), each => Assert.Equal(found[0].BaseOffset + each.Index, each.Item.BaseOffset));
            Assert.Equal(Math.Min(50, next - found[0].BaseOffset), found.Count);
            looks++;
        }

        return looks;
    }

    private static void Use(TopicStateMachine machine, byte[] directory) =>
        machine.UseIndex(new LogIndex(1), new LogIndex(4), directory);

    private static byte[] Publish(Random random, int topics)
    {
        var records = random.Next(1, 5);
        return Entries.PublishCommand($"t{random.Next(topics)}", Entries.Batch(records), records);
    }

    private TopicStateMachine NewMachine()
    {
        var machine = new TopicStateMachine(new NoSink());
        machine.AttachIndexes(_folder.Read);
        return machine;
    }

    private void Apply(TopicStateMachine machine, params string[] topics) =>
        topics.ToList().ForEach(topic => machine.Apply(_entries.Publish(topic), []));
}
