import seiche as sc


def program():
    sc.learn.rl.DQN(observations=4, actions=2, capacity=16, batch=0, discount=1.5)
