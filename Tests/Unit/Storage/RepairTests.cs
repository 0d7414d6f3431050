using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>A damaged sealed segment: the log goes on without it, and is mended from a peer's entries.</summary>
public sealed class RepairTests
{
    private readonly LogFixture _fixture = new();

    [Theory]
    [InlineData("flipped body")]
    [InlineData("flipped header")]
    [InlineData("cut short")]
    [InlineData("deleted")]
    public void Damaged_segment_is_marked_and_mended_by_its_entries(string damage)
    {
        SmallLog.Write(_fixture);
        Damage(_fixture.Device, _fixture.SegmentPath(12), damage);
        using (var log = _fixture.Open())
        {
            Assert.Equal(LogPosition.None, log.Fence);
            Assert.Equal(SmallLog.LastIndex, log.LastIndex.Value);
            Assert.Equal(damage != "flipped body", log.SealedSegments[1].IsDamaged);
            if (damage != "flipped header")
            {
                Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));
                Assert.Throws<StorageCorruptException>(() => log.Read(new(20), new(20), 1, []));
            }

            Assert.True(log.SealedSegments[1].IsDamaged);
            Assert.Equal(1, log.Read(new LogIndex(5), new LogIndex(5), 1, []));
            Assert.Equal(1, log.Read(new LogIndex(50), new LogIndex(50), 1, []));
            log.Write(LogFixture.AppendRange(SmallLog.LastIndex + 1, SmallLog.LastIndex + 2, term: 3));
            log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
            CheckWhole(log);
        }

        using var reopened = _fixture.Open();
        CheckWhole(reopened);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(12)]
    public void Replaced_segment_keeps_its_place_in_the_chain_without_its_positions_file(long first)
    {
        SmallLog.Write(_fixture);
        using (var log = _fixture.Open())
        {
            log.ReplaceSegment(new LogIndex(first), SmallLog.Entries.Where(entry => IsWithin(log, first, entry)));
            CheckWhole(log);
        }

        foreach (var at in new long[] { 1, 12 })
        {
            _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(new LogIndex(at))));
        }

        using (var reopened = _fixture.Open())
        {
            CheckWhole(reopened);
        }

        // The second start reads the positions files that the first one wrote.
        using var again = _fixture.Open();
        CheckWhole(again);
    }

    [Fact]
    public void Replaced_segment_that_is_truncated_and_sealed_again_is_read_as_what_it_is_now()
    {
        SmallLog.Write(_fixture);
        var expected = SmallLog.Entries[..30];
        using (var log = _fixture.Open())
        {
            log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
            var write = LogFixture.AppendRange(31, 60, term: 4, bodyBytes: 301);
            write.TruncateFrom = new LogIndex(31);
            write.HardState = new HardState(new Term(4), NodeId.None);
            log.Write(write);
            expected.AddRange(write.Entries);
            Assert.Equal(44, log.SealedSegments[1].Last.Value);
        }

        _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(new LogIndex(12))));
        using var reopened = _fixture.Open();
        Assert.Equal(LogPosition.None, reopened.Fence);
        LogFixture.AssertSame(expected, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void Damage_in_what_a_truncation_keeps_of_a_sealed_segment_fences_the_replica()
    {
        SmallLog.Write(_fixture);
        Damage(_fixture.Device, _fixture.SegmentPath(12), "flipped body");
        var log = _fixture.Open();
        var write = LogFixture.AppendRange(31, 32, term: 4);
        write.TruncateFrom = new LogIndex(31);
        write.HardState = new HardState(new Term(4), NodeId.None);
        Assert.Throws<StorageException>(() => log.Write(write));
        log.Dispose();

        using var reopened = _fixture.Open();
        Assert.Equal(19, reopened.LastIndex.Value);
        Assert.Equal(30, reopened.Fence.Index.Value);
        LogFixture.AssertSame(SmallLog.Entries[..19], LogFixture.ReadAll(reopened));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Damage_in_what_a_truncation_takes_from_a_sealed_segment_goes_with_it(bool isKnown)
    {
        SmallLog.Write(_fixture);
        Damage(_fixture.Device, _fixture.SegmentPath(12), "flipped body");
        var expected = SmallLog.Entries[..15];
        using (var log = _fixture.Open())
        {
            if (isKnown)
            {
                Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));
            }

            var write = LogFixture.AppendRange(16, 60, term: 4, bodyBytes: 301);
            write.TruncateFrom = new LogIndex(16);
            write.HardState = new HardState(new Term(4), NodeId.None);
            log.Write(write);
            expected.AddRange(write.Entries);
            Assert.DoesNotContain(log.SealedSegments, segment => segment.IsDamaged);
            LogFixture.AssertSame(expected, LogFixture.ReadAll(log));
        }

        using var reopened = _fixture.Open();
        Assert.Equal(LogPosition.None, reopened.Fence);
        LogFixture.AssertSame(expected, LogFixture.ReadAll(reopened));
    }

    [Fact]
    public void Damaged_segment_that_a_truncation_leaves_whole_waits_to_be_mended()
    {
        SmallLog.Write(_fixture);
        Damage(_fixture.Device, _fixture.SegmentPath(12), "flipped body");
        using var log = _fixture.Open();
        var write = LogFixture.AppendRange(45, 46, term: 4);
        write.TruncateFrom = new LogIndex(45);
        write.HardState = new HardState(new Term(4), NodeId.None);
        log.Write(write);
        log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
        LogFixture.AssertSame([.. SmallLog.Entries[..44], .. write.Entries], LogFixture.ReadAll(log));
    }

    [Theory]
    [InlineData("too few")]
    [InlineData("too many")]
    [InlineData("gap")]
    [InlineData("wrong term")]
    [InlineData("wrong body")]
    [InlineData("too large")]
    [InlineData("no such segment")]
    public void Other_entries_are_refused_and_nothing_changes(string what)
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        var entries = SmallLog.Entries[11..44];
        entries = what switch
        {
            "too few" => entries[..^1],
            "too many" => SmallLog.Entries[11..45],
            "gap" => [.. entries[..5], .. entries[6..]],
            "wrong term" => [.. entries[..^1], LogFixture.Entry(44, term: 2, bodyBytes: 301)],
            "wrong body" => [.. entries[..^1], Corrupt(entries[^1])],
            "too large" => [.. entries[..^1], LogFixture.Entry(44, term: 3, bodyBytes: Limits.EntryBytes + 1)],
            _ => entries,
        };
        var names = _fixture.Device.List(LogFixture.Folder);
        Assert.Throws<StorageException>(
            () => log.ReplaceSegment(new LogIndex(what == "no such segment" ? 13 : 12), entries));
        Assert.Equal(names, _fixture.Device.List(LogFixture.Folder));
        CheckWhole(log);
    }

    [Fact]
    public void Power_cut_in_any_operation_of_a_replacement_leaves_the_old_or_the_new_segment()
    {
        SmallLog.Write(_fixture);
        foreach (var mode in Enum.GetValues<SimulatedDeviceCrash>())
        {
            var cutAt = 0;
            for (var isCut = true; isCut; cutAt++)
            {
                var fixture = new LogFixture(_fixture.Device.Clone(cutAt));
                isCut = CutReplacement(fixture, cutAt + 1);
                fixture.Device.Crash(mode);
                using var log = fixture.Open();
                Assert.Equal(LogPosition.None, log.Fence);
                CheckWhole(log);
            }

            Assert.InRange(cutAt, 10, 40);
        }
    }

    [Theory]
    [InlineData(SimulatedDeviceOperation.Allocate)]
    [InlineData(SimulatedDeviceOperation.Write)]
    public void Full_disk_leaves_the_old_segment(SimulatedDeviceOperation failing)
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        _fixture.Device.Fault = (operation, _) =>
            operation == failing ? SimulatedDeviceFault.DiskFull : SimulatedDeviceFault.None;
        Assert.Throws<DiskFullException>(() => log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]));
        _fixture.Device.Fault = null;
        CheckWhole(log);
        Assert.DoesNotContain(
            _fixture.Device.List(LogFixture.Folder), name => name.EndsWith(".tmp", StringComparison.Ordinal));
    }

    [Fact]
    public void A_rewritten_segment_takes_what_its_entries_need_and_is_mended_with_more()
    {
        SmallLog.Write(_fixture);
        var less = Thinned();
        using (var log = _fixture.Open())
        {
            var before = _fixture.Device.Length(_fixture.SegmentPath(12));
            using (var rewrite = log.RewriteSegments(new LogIndex(12), new LogIndex(44)))
            {
                less.ForEach(rewrite.Add);
                Assert.Equal(new LogIndex(45), rewrite.Next);
                rewrite.Finish();
            }

            Assert.Equal(
                SegmentHeader.SizeBytes + less.Sum(entry => FrameHeader.FrameBytes(entry.Body.Length)),
                _fixture.Device.Length(_fixture.SegmentPath(12)));
            Assert.True(before > _fixture.Device.Length(_fixture.SegmentPath(12)));
            Assert.Equal(_fixture.Device.Length(_fixture.SegmentPath(12)), log.SealedSegments[1].SizeBytes);
            LogFixture.AssertSame(WithLess(less), LogFixture.ReadAll(log));
        }

        using (var reopened = _fixture.Open())
        {
            LogFixture.AssertSame(WithLess(less), LogFixture.ReadAll(reopened));
        }

        // A peer may have it whole.
        Damage(_fixture.Device, _fixture.SegmentPath(12), "flipped body");
        using (var hurt = _fixture.Open())
        {
            Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(hurt));
            hurt.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
            CheckWhole(hurt);
        }

        using var again = _fixture.Open();
        CheckWhole(again);
    }

    [Fact]
    public void A_crash_while_segments_become_one_leaves_them_or_the_one()
    {
        SmallLog.Write(_fixture);
        foreach (var mode in Enum.GetValues<SimulatedDeviceCrash>())
        {
            var (cutAt, seen) = (0, new HashSet<int>());
            for (var isCut = true; isCut; cutAt++)
            {
                var fixture = new LogFixture(_fixture.Device.Clone(cutAt));
                isCut = CutMerge(fixture, cutAt + 1);
                fixture.Device.Crash(mode);
                using (var log = fixture.Open())
                {
                    CheckMerged(log, isCut);
                    seen.Add(log.SealedSegments.Count);
                }

                using var again = fixture.Open();
                CheckMerged(again, isCut);
            }

            Assert.InRange(cutAt, 10, 60);
            Assert.Equal(2, seen.Count);
        }
    }

    [Fact]
    public void Segments_that_became_one_are_read_mended_and_dropped_as_one()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        log.Indexes.Write(new LogIndex(1), new LogIndex(11), [1], [2]);
        log.Indexes.Write(new LogIndex(12), new LogIndex(44), [1], [2]);
        Merge(log);
        CheckMerged(log, isCut: false);
        Assert.Empty(log.Indexes.List());
        var names = _fixture.Device.List(LogFixture.Folder);
        Assert.DoesNotContain(GroupFolder.SegmentName(new LogIndex(12)), names);
        Assert.DoesNotContain(GroupFolder.PositionsName(new LogIndex(12)), names);
        Damage(_fixture.Device, _fixture.SegmentPath(1), "flipped body");
        Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(log));
        Assert.True(log.SealedSegments[0].IsDamaged);
        log.ReplaceSegment(new LogIndex(1), SmallLog.Entries[..44]);
        CheckMerged(log, isCut: false);

        // A drop that was decided before: it comes to nothing, and another one later.
        log.Snapshots.Write(new LogPosition(new LogIndex(11), new Term(1)), GroupConfiguration.None, [1]);
        log.Write(new LogWrite { DropThrough = new LogIndex(11) });
        Assert.Equal(LogIndex.None, log.Base.Index);
        CheckMerged(log, isCut: false);
    }

    [Fact]
    public void A_rewrite_that_is_given_up_leaves_nothing_and_one_of_other_entries_is_refused()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        using (var rewrite = log.RewriteSegments(new LogIndex(12), new LogIndex(44)))
        {
            rewrite.Add(SmallLog.Entries[11]);
            Assert.Throws<StorageException>(() => rewrite.Add(SmallLog.Entries[20]));
            Assert.Throws<StorageException>(rewrite.Finish);
        }

        Assert.DoesNotContain(
            _fixture.Device.List(LogFixture.Folder), name => name.EndsWith(".tmp", StringComparison.Ordinal));
        Assert.Throws<StorageException>(() => log.RewriteSegments(new LogIndex(45), new LogIndex(52)));
        CheckWhole(log);
    }

    [Fact]
    public void A_crash_within_a_rewrite_leaves_the_old_segment_or_the_new_one()
    {
        SmallLog.Write(_fixture);
        var less = Thinned();
        foreach (var mode in Enum.GetValues<SimulatedDeviceCrash>())
        {
            var cutAt = 0;
            for (var isCut = true; isCut; cutAt++)
            {
                var fixture = new LogFixture(_fixture.Device.Clone(cutAt));
                isCut = CutRewrite(fixture, less, cutAt + 1);
                fixture.Device.Crash(mode);
                using var log = fixture.Open();
                Assert.Equal(LogPosition.None, log.Fence);
                var read = LogFixture.ReadAll(log);
                var isNew = read[11].Body.Length == less[0].Body.Length;
                Assert.True(isCut || isNew);
                LogFixture.AssertSame(isNew ? WithLess(less) : SmallLog.Entries, read);
            }

            Assert.InRange(cutAt, 5, 40);
        }
    }

    [Fact]
    public async Task Readers_beside_replacements_see_only_what_was_written()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        using var stop = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 2)
            .Select(_ => Task.Run(() => ReadUntil(log, stop.Token), CancellationToken.None)).ToArray();
        for (var i = 0; i < 100; i++)
        {
            log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
            log.Write(LogFixture.AppendRange(SmallLog.LastIndex + 1 + i, SmallLog.LastIndex + 1 + i, term: 3));
        }

        await stop.CancelAsync();
        await Task.WhenAll(readers);
        Assert.DoesNotContain(log.SealedSegments, segment => segment.IsDamaged);
    }

    [Fact]
    public void Scrubber_marks_what_is_damaged_and_makes_positions_anew()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        var positions = _fixture.PathOf(GroupFolder.PositionsName(new LogIndex(1)));
        log.Read(new LogIndex(1), new LogIndex(1), 1, []);
        _fixture.Device.Flip(_fixture.SegmentPath(12), 9000, 1);
        _fixture.Device.Flip(positions, 100, 1);
        Assert.Equal([true, false, false, true], ScrubAll(log));
        Assert.True(log.SealedSegments[1].IsDamaged);
        Assert.False(log.SealedSegments[0].IsDamaged);

        log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
        _fixture.Device.Delete(positions);
        Assert.Equal([true, true, true, true], ScrubAll(log));
        Assert.True(_fixture.Device.Exists(positions));
        _fixture.Device.Flip(_fixture.SegmentPath(1), 40, 1);
        Assert.Equal([false, true, true, true], ScrubAll(log));
    }

    private static List<bool> ScrubAll(IScrubbed log)
    {
        var intact = new List<bool>();
        foreach (var item in log.ScrubItems())
        {
            var cursor = 0L;
            ScrubPiece piece;
            do
            {
                piece = log.Verify(item, cursor, 1000);
                cursor = piece.Next;
            }
            while (!piece.IsLast);
            intact.Add(piece.IsIntact);
        }

        return intact;
    }

    private static int ReadUntil(GroupLog log, CancellationToken stop)
    {
        var rounds = 0;
        for (; !stop.IsCancellationRequested || rounds == 0; rounds++)
        {
            var into = new List<LogEntry>();
            log.Read(new LogIndex(1), new LogIndex(52), int.MaxValue, into);
            LogFixture.AssertSame(SmallLog.Entries, into);
        }

        return rounds;
    }

    private static List<LogEntry> Thinned() => SmallLog.Entries[11..44].ConvertAll(static entry =>
    {
        var body = entry.Body[..(entry.Body.Length / 4)];
        return new LogEntry(
            entry.Index,
            entry.Term,
            entry.Kind,
            entry.Count,
            entry.TimestampUnixMs,
            Crc32C.Compute(body.Span),
            body);
    });

    private static List<LogEntry> WithLess(List<LogEntry> less) =>
        [.. SmallLog.Entries[..11], .. less, .. SmallLog.Entries[44..]];

    private static void CheckMerged(GroupLog log, bool isCut)
    {
        Assert.Equal(LogPosition.None, log.Fence);
        var first = log.SealedSegments[0].Last.Value;
        Assert.True(first == 44 || (isCut && first == 11 && log.SealedSegments[1].Last.Value == 44));
        Assert.DoesNotContain(log.SealedSegments, segment => segment.IsDamaged);
        LogFixture.AssertSame(SmallLog.Entries, LogFixture.ReadAll(log));
    }

    private static void Merge(GroupLog log)
    {
        using var rewrite = log.RewriteSegments(new LogIndex(1), new LogIndex(44));
        SmallLog.Entries[..44].ForEach(rewrite.Add);
        rewrite.Finish();
    }

    private static bool CutMerge(LogFixture fixture, int cutAt)
    {
        var log = fixture.Open();
        fixture.Device.PowerCutAt = fixture.Device.OperationCount + cutAt;
        try
        {
            Merge(log);
            return false;
        }
        catch (SimulatedPowerCutException)
        {
            return true;
        }
    }

    private static bool CutRewrite(LogFixture fixture, List<LogEntry> less, int cutAt)
    {
        var log = fixture.Open();
        fixture.Device.PowerCutAt = fixture.Device.OperationCount + cutAt;
        try
        {
            using var rewrite = log.RewriteSegments(new LogIndex(12), new LogIndex(44));
            less.ForEach(rewrite.Add);
            rewrite.Finish();
            return false;
        }
        catch (SimulatedPowerCutException)
        {
            return true;
        }
    }

    private static bool CutReplacement(LogFixture fixture, int cutAt)
    {
        var log = fixture.Open();
        fixture.Device.PowerCutAt = fixture.Device.OperationCount + cutAt;
        try
        {
            log.ReplaceSegment(new LogIndex(12), SmallLog.Entries[11..44]);
            return false;
        }
        catch (SimulatedPowerCutException)
        {
            return true;
        }
    }

    private static bool IsWithin(GroupLog log, long first, LogEntry entry)
    {
        var segment = log.SealedSegments.Single(sealedSegment => sealedSegment.First.Value == first);
        return entry.Index >= segment.First && entry.Index <= segment.Last;
    }

    private static LogEntry Corrupt(LogEntry entry) => new(
        entry.Index, entry.Term, entry.Kind, entry.Count, entry.TimestampUnixMs, entry.BodyCrc32C ^ 1, entry.Body);

    private static void CheckWhole(GroupLog log)
    {
        Assert.DoesNotContain(log.SealedSegments, segment => segment.IsDamaged);
        var into = new List<LogEntry>();
        log.Read(log.FirstIndex, new LogIndex(SmallLog.LastIndex), int.MaxValue, into);
        LogFixture.AssertSame(SmallLog.Entries, into);
    }

    private static void Damage(SimulatedDevice device, string path, string how)
    {
        switch (how)
        {
            case "flipped body":
                // Entry 20.
                device.Flip(path, SegmentHeader.SizeBytes + (8 * 368) + 200, 1);
                break;
            case "flipped header":
                device.Flip(path, 30, 1);
                break;
            case "cut short":
                device.SetLength(path, SegmentHeader.SizeBytes + (8 * 368) + 100);
                break;
            default:
                device.Delete(path);
                break;
        }
    }
}
