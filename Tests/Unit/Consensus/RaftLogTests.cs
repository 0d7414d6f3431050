using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

public sealed class RaftLogTests
{
    [Fact]
    public void Terms_are_found_at_every_index_after_any_appends_and_truncations()
    {
        var random = new Random(7);
        var log = new RaftLog(LogPosition.None, LogIndex.None, []);
        var model = new List<long>();
        for (var step = 0; step < 3_000; step++)
        {
            if (model.Count > 0 && random.Next(5) == 0)
            {
                var keep = random.Next(Math.Max(0, model.Count - 10), model.Count);
                log.TruncateFrom(new LogIndex(keep + 1));
                model.RemoveRange(keep, model.Count - keep);
            }
            else
            {
                var term = Math.Max(1, model.LastOrDefault() + (random.Next(4) == 0 ? random.Next(1, 4) : 0));
                log.Append(new Term(term));
                model.Add(term);
            }

            Assert.Equal(model.Count, log.LastIndex.Value);
            Assert.Equal(model.LastOrDefault(), log.LastTerm.Value);
        }

        AssertSame(model, log);
    }

    [Fact]
    public void Log_is_rebuilt_from_its_runs()
    {
        TermRun[] runs = [new(new LogIndex(1), new Term(2)), new(new LogIndex(4), new Term(5))];

        AssertSame([2, 2, 2, 5, 5], new RaftLog(LogPosition.None, new LogIndex(5), runs));
    }

    [Fact]
    public void Runs_that_contradict_themselves_are_refused()
    {
        Assert.Throws<InvariantException>(() => new RaftLog(LogPosition.None, new LogIndex(5), []));
        Assert.Throws<InvariantException>(
            () => new RaftLog(LogPosition.None, new LogIndex(5), [new(new LogIndex(2), new Term(1))]));
        Assert.Throws<InvariantException>(() => new RaftLog(
            LogPosition.None, new LogIndex(5), [new(new LogIndex(1), new Term(3)), new(new LogIndex(3), new Term(2))]));
        Assert.Throws<InvariantException>(() => new RaftLog(
            LogPosition.None, new LogIndex(2), [new(new LogIndex(1), new Term(1)), new(new LogIndex(3), new Term(2))]));
    }

    [Theory]
    [InlineData(9, 3, 5)]
    [InlineData(9, 5, 7)]
    [InlineData(9, 1, 3)]
    [InlineData(4, 9, 4)]
    [InlineData(7, 0, 0)]
    public void Last_possible_agreement_skips_newer_terms(int index, int term, int expected)
    {
        // Terms 1 1 1 3 3 5 5.
        TermRun[] runs =
        [
            new(new LogIndex(1), new Term(1)), new(new LogIndex(4), new Term(3)), new(new LogIndex(6), new Term(5)),
        ];
        var log = new RaftLog(LogPosition.None, new LogIndex(7), runs);

        Assert.Equal(new LogIndex(expected), log.LastPossibleAgreement(new LogIndex(index), new Term(term)));
    }

    private static void AssertSame(List<long> terms, RaftLog log)
    {
        Assert.Equal(Term.None, log.TermAt(LogIndex.None));
        for (var i = 0; i < terms.Count; i++)
        {
            Assert.Equal(terms[i], log.TermAt(new LogIndex(i + 1)).Value);
            var count = Math.Min(7, terms.Count - i);
            Assert.Equal(terms.GetRange(i, count), log.TermsOf(new LogIndex(i + 1), count).Select(term => term.Value));
        }
    }
}
