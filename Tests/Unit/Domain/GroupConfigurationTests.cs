using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Domain;

public sealed class GroupConfigurationTests
{
    private static readonly LogIndex Seven = new(7);

    [Theory]
    [InlineData("1,3", "4")]
    [InlineData("1", "")]
    [InlineData("", "2")]
    [InlineData("", "")]
    [InlineData("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,2147483647")]
    public void What_is_encoded_is_decoded(string voters, string learners)
    {
        var configuration = new GroupConfiguration(Seven, Nodes(voters), Nodes(learners));
        var body = configuration.Encode();

        Assert.True(GroupConfiguration.TryDecode(body, Seven, out var decoded));

        Assert.Equal(configuration, decoded);
        Assert.True(body.Length <= GroupConfiguration.MaxEncodedBytes);
    }

    [Fact]
    public void The_bytes_are_those_of_the_documented_example()
    {
        var body = new GroupConfiguration(Seven, Nodes("3,1"), Nodes("4")).Encode();

        Assert.Equal("01020100010000000300000004000000", Convert.ToHexString(body));
    }

    [Theory]
    [InlineData("")]
    [InlineData("010200")]
    [InlineData("02010000" + "01000000")]
    [InlineData("01010001" + "01000000")]
    [InlineData("01020000" + "01000000")]
    [InlineData("01010000" + "0100000000")]
    [InlineData("01010000" + "00000000")]
    [InlineData("01010000" + "FFFFFFFF")]
    [InlineData("01020000" + "0100000001000000")]
    [InlineData("01010100" + "0100000001000000")]
    public void A_body_that_is_cut_unknown_or_contradicts_itself_is_refused(string hex)
    {
        Assert.False(GroupConfiguration.TryDecode(Convert.FromHexString(hex), Seven, out var decoded));
        Assert.Equal(GroupConfiguration.None, decoded);
    }

    [Fact]
    public void A_body_with_more_members_than_a_group_may_have_is_refused()
    {
        var body = new byte[4 + (33 * 4)];
        body[0] = 1;
        body[1] = 33;
        for (var i = 0; i < 33; i++)
        {
            body[4 + (i * 4)] = (byte)(i + 1);
        }

        Assert.False(GroupConfiguration.TryDecode(body, Seven, out _));
    }

    [Fact]
    public void Random_bytes_are_decoded_or_refused_but_never_throw()
    {
        var random = new Random(5);
        for (var i = 0; i < 10_000; i++)
        {
            var body = new byte[random.Next(4, 40)];
            random.NextBytes(body);
            body[0] = 1;
            body[1] = (byte)random.Next(4);
            body[2] = (byte)random.Next(4);
            body[3] = 0;
            var known = GroupConfiguration.TryDecode(body, Seven, out var decoded);

            Assert.True(!known || decoded.Encode().Length == body.Length);
        }
    }

    [Fact]
    public void A_member_is_a_voter_or_a_learner_and_others_are_neither()
    {
        var configuration = new GroupConfiguration(Seven, Nodes("1,2"), Nodes("3"));

        Assert.Equal([true, true, false, false], Flags(configuration.IsVoter));
        Assert.Equal([false, false, true, false], Flags(configuration.IsLearner));
        Assert.Equal([true, true, true, false], Flags(configuration.Contains));
    }

    [Theory]
    [InlineData("1,1", "")]
    [InlineData("1,2", "2")]
    [InlineData("0", "")]
    public void A_configuration_that_contradicts_itself_cannot_be_made(string voters, string learners) =>
        Assert.Throws<InvariantException>(() => new GroupConfiguration(Seven, Nodes(voters), Nodes(learners)));

    [Fact]
    public void Configurations_are_equal_when_index_voters_and_learners_are()
    {
        var configuration = new GroupConfiguration(Seven, Nodes("1,2"), Nodes("3"));

        var same = new GroupConfiguration(Seven, Nodes("2,1"), Nodes("3"));
        Assert.Equal(configuration, same);
        Assert.Equal(configuration.GetHashCode(), same.GetHashCode());
        Assert.NotEqual(configuration, new GroupConfiguration(new LogIndex(8), Nodes("1,2"), Nodes("3")));
        Assert.NotEqual(configuration, new GroupConfiguration(Seven, Nodes("1,2,3"), []));
        Assert.NotEqual(configuration, new GroupConfiguration(Seven, Nodes("1,2"), []));
        Assert.Equal(new LogIndex(8), configuration.At(new LogIndex(8)).Index);
        Assert.Equal(configuration.Voters, configuration.At(new LogIndex(8)).Voters);
    }

    private static bool[] Flags(Func<NodeId, bool> holds) => [.. Nodes("1,2,3,4").Select(holds)];

    private static List<NodeId> Nodes(string numbers) =>
        [.. numbers.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(static number => new NodeId(
            int.Parse(number, System.Globalization.CultureInfo.InvariantCulture)))];
}
