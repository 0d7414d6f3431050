using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Storage;

/// <summary>A sealed segment whose entries' bodies were given up, and brought back.</summary>
public sealed class HollowTests
{
    private readonly LogFixture _fixture = new();

    private static LogIndex First => new(12);

    [Theory]
    [InlineData("nothing")]
    [InlineData("the positions file")]
    public void A_hollow_segment_takes_little_and_is_read_nowhere_until_it_is_brought_back(string lost)
    {
        SmallLog.Write(_fixture);
        using (var log = _fixture.Open())
        {
            var before = _fixture.Device.Length(_fixture.SegmentPath(12));
            Hollow(log);
            CheckHollow(log);
            Assert.True(_fixture.Device.Length(_fixture.SegmentPath(12)) * 2 < before);
            log.Write(LogFixture.AppendRange(SmallLog.LastIndex + 1, SmallLog.LastIndex + 2, term: 3));
        }

        if (lost != "nothing")
        {
            _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(First)));
        }

        using (var reopened = _fixture.Open())
        {
            Assert.Equal(LogPosition.None, reopened.Fence);
            Assert.Equal(SmallLog.LastIndex + 2, reopened.LastIndex.Value);
            Assert.Equal(new TermRun(new LogIndex(1), new Term(3)), Assert.Single(reopened.TermRuns));
            CheckHollow(reopened);
            reopened.ReplaceSegment(First, SmallLog.Entries[11..44]);
            CheckWhole(reopened);
        }

        using var again = _fixture.Open();
        CheckWhole(again);
    }

    /// <summary>As a version of before sees it, which does not know the header.</summary>
    [Theory]
    [InlineData("flipped header")]
    [InlineData("deleted")]
    [InlineData("cut short")]
    public void A_hollow_segment_that_is_damaged_is_mended_as_any_other(string damage)
    {
        SmallLog.Write(_fixture);
        using (var log = _fixture.Open())
        {
            Hollow(log);
        }

        var path = _fixture.SegmentPath(12);
        switch (damage)
        {
            case "deleted":
                _fixture.Device.Delete(path);
                break;
            case "cut short":
                _fixture.Device.SetLength(path, SegmentHeader.SizeBytes + 100);
                break;
            default:
                _fixture.Device.Flip(path, 0, 1);
                break;
        }

        using var hurt = _fixture.Open();
        Assert.Equal((true, false), (hurt.SealedSegments[1].IsDamaged, hurt.SealedSegments[1].IsHollow));
        Assert.Throws<StorageCorruptException>(() => LogFixture.ReadAll(hurt));
        hurt.ReplaceSegment(First, SmallLog.Entries[11..44]);
        CheckWhole(hurt);
    }

    [Fact]
    public void A_crash_while_a_segment_becomes_hollow_or_whole_leaves_the_one_or_the_other()
    {
        SmallLog.Write(_fixture);
        var hollow = new LogFixture(_fixture.Device.Clone(1));
        using (var log = hollow.Open())
        {
            // A fixture's files have the same nonces after each start: this one shall have another than the next.
            log.HollowSegment(First).Dispose();
            Hollow(log);
        }

        hollow.Device.Kill();
        foreach (var mode in Enum.GetValues<SimulatedDeviceCrash>())
        {
            CutEverywhere(_fixture, Hollow, mode);
            CutEverywhere(hollow, static log => log.ReplaceSegment(First, SmallLog.Entries[11..44]), mode);
        }
    }

    /// <summary>The others have dropped their logs through there meanwhile.</summary>
    [Fact]
    public void What_nobody_has_any_more_stays_hollow_when_the_rest_comes_back()
    {
        SmallLog.Write(_fixture);
        using (var log = _fixture.Open())
        {
            log.HollowSegment(First).Dispose(); // For another nonce than the next start's, see above.
            Hollow(log);
            log.ReplaceSegment(First, SmallLog.Entries[29..44]);
            CheckPart(log);
        }

        _fixture.Device.Delete(_fixture.PathOf(GroupFolder.PositionsName(First)));
        using (var reopened = _fixture.Open())
        {
            CheckPart(reopened);
            Assert.Throws<StorageException>(() => reopened.ReplaceSegment(First, SmallLog.Entries[30..44]));
            CheckPart(reopened);
            Hollow(reopened);
            CheckHollow(reopened);
        }

        static void CheckPart(GroupLog log)
        {
            var segment = log.SealedSegments[1];
            Assert.Equal(
                (false, false, new LogIndex(29)), (segment.IsHollow, segment.IsDamaged, segment.HollowThrough));
            Assert.Equal(0, log.HollowSegments);
            Assert.Throws<HollowSegmentException>(() => log.Read(new(29), new(44), 1, []));
            var read = new List<LogEntry>();
            log.Read(new LogIndex(30), new LogIndex(SmallLog.LastIndex), int.MaxValue, read);
            LogFixture.AssertSame(SmallLog.Entries[29..], read);
            foreach (var item in ((IScrubbed)log).ScrubItems())
            {
                for (var cursor = 0L; cursor != ScrubPiece.End;)
                {
                    var piece = ((IScrubbed)log).Verify(item, cursor, 1000);
                    Assert.True(piece.IsIntact);
                    cursor = piece.Next;
                }
            }
        }
    }

    [Fact]
    public void A_scrubber_passes_over_what_a_hollow_segment_has_not()
    {
        SmallLog.Write(_fixture);
        using var log = _fixture.Open();
        Hollow(log);
        foreach (var item in ((IScrubbed)log).ScrubItems())
        {
            Assert.True(((IScrubbed)log).Verify(item, 0, int.MaxValue / 2).IsIntact);
        }

        CheckHollow(log);
        _fixture.Device.Flip(_fixture.SegmentPath(12), 40, 1);
        Assert.Contains(
            ((IScrubbed)log).ScrubItems(), item => !((IScrubbed)log).Verify(item, 0, int.MaxValue / 2).IsIntact);
        Assert.True(log.SealedSegments[1].IsDamaged);
    }

    private static void CutEverywhere(LogFixture before, Action<GroupLog> change, SimulatedDeviceCrash mode)
    {
        var (cutAt, seen) = (0, new HashSet<bool>());
        for (var isCut = true; isCut; cutAt++)
        {
            var fixture = new LogFixture(before.Device.Clone(cutAt));
            isCut = Cut(fixture, change, cutAt + 1);
            fixture.Device.Crash(mode);
            using var log = fixture.Open();
            Assert.Equal(LogPosition.None, log.Fence);
            var isHollow = log.SealedSegments[1].IsHollow;
            seen.Add(isHollow);
            if (isHollow)
            {
                CheckHollow(log);
            }
            else
            {
                CheckWhole(log);
            }
        }

        Assert.Equal(2, seen.Count);
        Assert.InRange(cutAt, 5, 40);
    }

    private static bool Cut(LogFixture fixture, Action<GroupLog> change, int cutAt)
    {
        var log = fixture.Open();
        fixture.Device.PowerCutAt = fixture.Device.OperationCount + cutAt;
        try
        {
            change(log);
            return false;
        }
        catch (SimulatedPowerCutException)
        {
            return true;
        }
        finally
        {
            fixture.Device.PowerCutAt = null;
        }
    }

    private static void Hollow(GroupLog log)
    {
        using var rewrite = log.HollowSegment(First);
        SmallLog.Entries[11..44].ForEach(entry => rewrite.Add(LogFixture.Less(entry)));
        rewrite.Finish();
    }

    private static void CheckHollow(GroupLog log)
    {
        Assert.Equal(
            [false, true], log.SealedSegments.Select(static segment => segment.IsHollow));
        Assert.DoesNotContain(log.SealedSegments, static segment => segment.IsDamaged);
        Assert.Equal(1, log.HollowSegments);
        var read = new List<LogEntry>();
        Assert.Throws<HollowSegmentException>(() => log.Read(new(12), new(12), 1, read));
        Assert.Throws<HollowSegmentException>(() => log.Read(new(1), new(44), int.MaxValue, read));
        LogFixture.AssertSame(SmallLog.Entries[..11], read);
        Assert.Equal(1, log.Read(new LogIndex(45), new LogIndex(45), 1, read));
    }

    private static void CheckWhole(GroupLog log)
    {
        Assert.DoesNotContain(log.SealedSegments, static segment => segment.IsDamaged || segment.IsHollow);
        Assert.Equal(0, log.HollowSegments);
        var into = new List<LogEntry>();
        log.Read(log.FirstIndex, new LogIndex(SmallLog.LastIndex), int.MaxValue, into);
        LogFixture.AssertSame(SmallLog.Entries, into);
    }
}
