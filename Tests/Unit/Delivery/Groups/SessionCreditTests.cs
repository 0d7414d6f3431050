using Broker.Delivery;
using Xunit;

namespace Broker.Tests.Unit.Delivery.Groups;

/// <summary>How a consumer's credit is divided among shards.</summary>
public sealed class SessionCreditTests
{
    private const long Bytes = 1_000;

    [Fact]
    public void Open_shards_get_even_parts_and_what_comes_back_fills_up_those_that_have_used_half()
    {
        var (credit, shards) = Make(3);
        credit.Add(90, 90 * Bytes);
        Assert.All(shards, static shard => Assert.Equal(0, shard.Given));

        foreach (var shard in shards)
        {
            credit.Opened(shard.Credit);
        }

        // The first to come has all until the others are there; they ask when they need some.
        Assert.Equal(90, shards.Sum(static shard => shard.Given));
        SessionCredit.Sent(shards[0].Credit, 80, 80 * Bytes);
        credit.Add(80, 80 * Bytes);
        Assert.Equal([30, 30, 30], shards.Select(static shard => shard.Credit.Records));
    }

    [Fact]
    public void A_shard_that_has_more_gets_what_an_idle_one_gives_back()
    {
        var (credit, shards) = Make(2);
        shards.ForEach(shard => credit.Opened(shard.Credit));
        credit.Add(20, 20 * Bytes);
        Assert.Equal([10, 10], shards.Select(static shard => shard.Credit.Records));

        SessionCredit.Sent(shards[0].Credit, 10, 10 * Bytes);
        credit.Wants(shards[0].Credit);
        Assert.Equal((0, 1), (shards[0].Recalls, shards[1].Recalls));
        credit.Wants(shards[0].Credit);
        Assert.Equal(1, shards[1].Recalls);

        credit.Returned(shards[1].Credit, 10, 10 * Bytes);
        Assert.Equal((10, 0), (shards[0].Credit.Records, shards[1].Credit.Records));
    }

    [Fact]
    public void A_shard_that_asked_before_it_heard_of_its_credit_keeps_it_from_nobody()
    {
        var (credit, shards) = Make(2);
        shards.ForEach(shard => credit.Opened(shard.Credit));
        credit.Wants(shards[0].Credit);
        credit.Add(20, 20 * Bytes);
        credit.Wants(shards[0].Credit);
        credit.Wants(shards[1].Credit);
        Assert.Equal(1, shards[0].Recalls);
        credit.Returned(shards[0].Credit, 20, 20 * Bytes);
        Assert.Equal([10, 10], shards.Select(static shard => shard.Credit.Records));
        SessionCredit.Sent(shards[1].Credit, 10, 10 * Bytes);
        credit.Wants(shards[1].Credit);
        Assert.Equal(2, shards[0].Recalls);
        credit.Returned(shards[0].Credit, 10, 10 * Bytes);
        Assert.Equal([0, 10], shards.Select(static shard => shard.Credit.Records));
    }

    [Fact]
    public void Shards_that_have_more_divide_all_that_comes()
    {
        var (credit, shards) = Make(3);
        shards.ForEach(shard => credit.Opened(shard.Credit));
        credit.Wants(shards[0].Credit);
        credit.Add(7, 7 * Bytes);
        Assert.Equal([7, 0, 0], shards.Select(static shard => shard.Credit.Records));
        credit.Wants(shards[1].Credit);
        credit.Wants(shards[2].Credit);
        credit.Add(7, 7 * Bytes);
        Assert.Equal([7, 3, 4], shards.Select(static shard => shard.Credit.Records));
    }

    [Fact]
    public void One_record_of_credit_reaches_whichever_shard_has_something()
    {
        var (credit, shards) = Make(3);
        shards.ForEach(shard => credit.Opened(shard.Credit));
        credit.Add(1, 10 * Bytes);
        Assert.All(shards, static shard => Assert.Equal(0, shard.Credit.Records));
        credit.Wants(shards[2].Credit);
        Assert.Equal([0, 0, 1], shards.Select(static shard => shard.Credit.Records));
        credit.Wants(shards[1].Credit);
        Assert.Equal(1, shards[2].Recalls);
        credit.Returned(shards[2].Credit, 1, 10 * Bytes);
        Assert.Equal([0, 1, 0], shards.Select(static shard => shard.Credit.Records));
    }

    [Fact]
    public void What_a_shard_had_goes_to_the_others_when_it_closes()
    {
        var (credit, shards) = Make(2);
        shards.ForEach(shard => credit.Opened(shard.Credit));
        credit.Add(20, 20 * Bytes);
        credit.Closed(shards[0].Credit);
        credit.Wants(shards[1].Credit);
        Assert.Equal(0, shards[0].Credit.Records);
        Assert.Equal(20, shards[1].Credit.Records);
    }

    [Fact]
    public void A_shard_that_sent_a_large_record_makes_up_for_it_first()
    {
        var (credit, shards) = Make(1);
        credit.Opened(shards[0].Credit);
        credit.Add(10, Bytes);
        SessionCredit.Sent(shards[0].Credit, 1, 5 * Bytes);
        credit.Add(1, 5 * Bytes);
        Assert.Equal((10, Bytes), (shards[0].Credit.Records, shards[0].Credit.Bytes));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Whatever_happens_the_shards_have_never_more_than_the_consumer_said(int seed)
    {
        var random = new Random(seed);
        var (credit, shards) = Make(4);
        var (said, sent) = (0, 0);
        for (var step = 0; step < 5_000; step++)
        {
            var shard = shards[random.Next(shards.Count)];
            switch (random.Next(6))
            {
                case 0:
                    var more = random.Next(1, 50);
                    said += more;
                    credit.Add(more, more * Bytes);
                    break;
                case 1 when shard.Credit.IsOpen && shard.Credit.Records > 0:
                    var count = random.Next(1, shard.Credit.Records + 1);
                    sent += count;
                    SessionCredit.Sent(shard.Credit, count, random.Next((int)Bytes));
                    break;
                case 2:
                    credit.Wants(shard.Credit);
                    break;
                case 3 when shard.Credit.IsRecalled:
                    credit.Returned(shard.Credit, shard.Credit.Records, shard.Credit.Bytes);
                    break;
                case 4 when !shard.Credit.IsOpen:
                    credit.Opened(shard.Credit);
                    break;
                case 5 when shard.Credit.IsOpen && random.Next(5) == 0:
                    credit.Closed(shard.Credit);
                    break;
            }

            Assert.All(shards, static each => Assert.InRange(each.Credit.Records, 0, int.MaxValue));
            Assert.InRange(shards.Sum(static each => each.Credit.Records), 0, said - sent);
        }

        // None of it is lost: one shard that asks on and on gets all.
        shards.ForEach(each => credit.Closed(each.Credit));
        credit.Opened(shards[0].Credit);
        for (var i = 0; i < 64; i++)
        {
            credit.Wants(shards[0].Credit);
        }

        Assert.Equal(said - sent, shards[0].Credit.Records);
    }

    private static (SessionCredit Credit, List<Shard> Shards) Make(int count)
    {
        var credit = new SessionCredit();
        return (credit, [.. Enumerable.Range(0, count).Select(_ => new Shard(credit))]);
    }

    private sealed class Shard
    {
        public Shard(SessionCredit credit) => Credit = credit.Add(
            (records, _) => Given += records, () => Recalls++);

        public ShardCredit Credit { get; }

        public int Given { get; private set; }

        public int Recalls { get; private set; }
    }
}
